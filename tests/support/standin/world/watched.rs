//! What watches over resources, and where it tells of them.

use serde_json::json;

use super::super::reply::Reply;
use super::serve::{Call, Outcome};
use super::shelf::{Shelf, shelf};

/// The lists that are kept as any other.
pub(super) const SHELVES: &[Shelf] = &[
    shelf(
        "monitoring/sinks/destinations",
        "destinations",
        "destination",
        "id",
    )
    .created(200),
    shelf("monitoring/sinks", "sinks", "sink", "_id").created(202),
    shelf("uptime/checks", "checks", "check", "id"),
    shelf("uptime/checks/*/alerts", "alerts", "alert", "id"),
];

/// Metrics: one series, which says whose it is.
pub(super) fn metrics(call: &Call) -> Outcome {
    const NAMED: [&str; 5] = ["host_id", "lb_id", "app_id", "db_id", "autoscale_pool_id"];
    let Some(of) = NAMED.iter().find_map(|name| call.parameter(name)) else {
        return Err(Reply::unprocessable("the resource is required"));
    };
    let series = json!({ "metric": { "of": of }, "values": [[1_435_781_430, "1"]] });
    let data = json!({ "resultType": "matrix", "result": [series] });
    Ok(Reply::json(
        200,
        &json!({ "status": "success", "data": data }),
    ))
}
