//! Two daemons asked in turns.

use std::time::Instant;

use crate::house::{Asking, House, LANES};
use crate::report::{Report, median, micros};

const ROUNDS: usize = 9;
const REQUESTS_A_ROUND: usize = 5_000;

/// Costs of a request by so many tokens in turns, measured at one daemon and the other by turns too.
pub async fn requests(
    report: &mut Report,
    asking: Asking,
    active: usize,
    houses: [&House; 2],
    most: Option<f64>,
) {
    let (mut costs, mut rates) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let each = f64::from(u32::try_from(REQUESTS_A_ROUND).unwrap());
    for round in 0..ROUNDS {
        let numbers = round * REQUESTS_A_ROUND..(round + 1) * REQUESTS_A_ROUND;
        for (index, house) in houses.into_iter().enumerate() {
            let (before, began) = (house.processor_time(), Instant::now());
            house.ask(asking, active, numbers.clone()).await;
            rates[index].push(each / began.elapsed().as_secs_f64());
            let spent = house.processor_time().saturating_sub(before);
            costs[index].push(spent.as_secs_f64() / each);
        }
    }
    let costs = costs.map(median);
    let ratio = costs[1] / costs[0];
    let who = match active {
        usize::MAX => "all tokens".to_owned(),
        some => format!("at most {some} tokens"),
    };
    let what = format!("{asking}, by {who} in turns: processor time");
    let bound = match most {
        Some(most) => format!("{ratio:.2} times; under {most}"),
        None => format!("{ratio:.2} times"),
    };
    let met = most.map(|most| ratio < most);
    report.row(&what, costs.map(micros), &bound, met);
    let cells = rates.map(|rates| format!("{:.0}/s", median(rates)));
    report.row(
        &format!("the same, over {LANES} connections"),
        cells,
        "",
        None,
    );
}
