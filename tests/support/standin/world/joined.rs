//! What joins networks to each other and to elsewhere, what lends addresses, and the keys to buckets.

use serde_json::json;

use super::super::reply::Reply;
use super::serve::{Call, Outcome, one};
use super::shelf::{Shelf, shelf};
use super::shown::{holds, shown};
use super::{World, pages};

/// The lists that are kept as any other.
pub(super) const SHELVES: &[Shelf] = &[
    shelf("byoip_prefixes", "byoip_prefixes", "byoip_prefix", "uuid").created(202),
    shelf(
        "partner_network_connect/attachments",
        "partner_attachments",
        "partner_attachment",
        "id",
    )
    .created(202),
    shelf("reserved_ipv6", "reserved_ipv6s", "reserved_ipv6", "ip"),
    shelf("spaces/keys", "keys", "key", "access_key"),
    shelf(
        "vpc_nat_gateways",
        "vpc_nat_gateways",
        "vpc_nat_gateway",
        "id",
    )
    .created(202),
    shelf("vpc_peerings", "vpc_peerings", "vpc_peering", "id").created(202),
];

/// `vpcs_list_peerings`: those of which it is an end.
pub(super) fn peerings(world: &World, call: &Call, vpc: &str) -> Outcome {
    one(world, "vpcs", vpc)?;
    let all = world.all("vpc_peerings").iter();
    let own = all.filter(|peering| holds(&peering["vpc_ids"], vpc));
    let own = own.map(|peering| shown(world, "vpc_peerings", peering));
    Ok(pages::page(call, "peerings", own.collect()))
}

/// `vpcs_create_peerings`: one end is in the path.
pub(super) fn peer(world: &mut World, call: &Call, vpc: &str) -> Outcome {
    one(world, "vpcs", vpc)?;
    let id = world.uuid();
    let peering = json!({ "id": id, "name": call.body["name"], "status": "PROVISIONING",
        "vpc_ids": [vpc, call.body["vpc_id"]] });
    world.put("vpc_peerings", peering.clone());
    Ok(Reply::json(202, &json!({ "peering": peering })))
}
