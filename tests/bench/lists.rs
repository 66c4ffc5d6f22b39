//! A list of 5,000 Droplets filtered by a prefix of their names: what it takes beside the reading of it, and what memory.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use memchr::memmem;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::droplet::droplet;
use crate::process;
use crate::report::{Report, bytes, median, millis};
use crate::support::gate::Kept;
use crate::support::{Fault, Gate, REAL_TOKEN, Reply, StandInApi, World};

const DROPLETS: usize = 5_000;
const PER_PAGE: usize = 200;
/// The connections of one client, as tidegate has to the API.
const LANES: usize = 4;
const ROUNDS: usize = 9;
const CLIENTS: usize = 20;
/// What a page takes the API. The real one takes longer.
const PACE: Duration = Duration::from_millis(50);
const MOST: f64 = 1.3;
/// What each further client may take: pages on their way to it, and no list of its own.
const A_CLIENT: u64 = 4_000_000;

/// Which Droplets a role sees.
#[derive(Clone, Copy)]
struct Team {
    role: &'static str,
    sees: usize,
}

const FEW: Team = Team {
    role: "few",
    sees: DROPLETS / 10,
};
const MOST_OF_THEM: Team = Team {
    role: "most",
    sees: DROPLETS / 10 * 9,
};

const POLICY: &str = "
version: 1
roles:
  few:
    allow:
      - scopes: [droplet:read]
        only: { droplet: { name: 'team-0-*' } }
  most:
    allow:
      - scopes: [droplet:read]
        only: { droplet: { name: 'team-*' } }
    deny:
      - scopes: [droplet:read]
        only: { droplet: { name: 'team-0-*' } }
  writer:
    allow: [{ scopes: [tag:create] }]
";

/// A daemon before an API that has all its pages ready.
struct House {
    api: StandInApi,
    gate: Gate,
    writer: String,
}

impl House {
    async fn open() -> Self {
        let api = StandInApi::start_with(World::empty()).await;
        let gate = Gate::start(&api, POLICY).await;
        let writer = gate.issue(&["writer", "--role", "writer"]).await;
        let house = Self { api, gate, writer };
        house.at_pace(None);
        house
    }

    /// Lets every page take so long.
    fn at_pace(&self, pace: Option<Duration>) {
        self.api.clear_faults();
        for (number, page) in pages().into_iter().enumerate() {
            let reply = Reply::bytes(200, "application/json; charset=utf-8", page);
            let fault = pace.map_or_else(
                || Fault::Reply(reply.clone()),
                |pace| Fault::Late(pace, reply.clone()),
            );
            self.api
                .fault_all(&format!("{}$", target(number + 1)), fault);
        }
    }

    async fn client(&self, name: &str, team: Team) -> Client<'_> {
        let token = self.gate.issue(&[name, "--role", team.role]).await;
        Client {
            house: self,
            token,
            sees: team.sees,
            to: self.gate.address(),
        }
    }

    /// The same client, with the real token and straight at the API.
    fn straight(&self) -> Client<'_> {
        Client {
            house: self,
            token: REAL_TOKEN.to_owned(),
            sees: DROPLETS,
            to: self.api.address(),
        }
    }

    /// A change goes through, so that what was read is forgotten.
    async fn forget(&self) {
        let tag = self.gate.post("/v2/tags", &json!({ "name": "x" }));
        assert!(tag.token(&self.writer).send().await.status.is_success());
    }
}

struct Client<'h> {
    house: &'h House,
    token: String,
    sees: usize,
    to: std::net::SocketAddr,
}

impl Client<'_> {
    /// Reads the whole list: the first page, and then the others, as many at once as there are lanes.
    async fn read(&self) -> Duration {
        let mut kept = Vec::new();
        for _ in 0..LANES {
            let stream = TcpStream::connect(self.to).await.unwrap();
            stream.set_nodelay(true).unwrap();
            kept.push(Kept::over(stream).await.unwrap());
        }
        let began = Instant::now();
        let total = format!("\"total\":{}}}", self.sees);
        let first = self.page(&mut kept[0], 1).await;
        assert!(memmem::find(&first, total.as_bytes()).is_some());
        let last = self.sees.div_ceil(PER_PAGE);
        let lanes = kept.iter_mut().enumerate().map(|(lane, kept)| async move {
            let mut bytes = 0;
            for number in (2 + lane..=last).step_by(LANES) {
                bytes += self.page(kept, number).await.len();
            }
            bytes
        });
        let rest: usize = join_all(lanes).await.into_iter().sum();
        let took = began.elapsed();
        let all = first.len() + rest;
        assert!(
            all > self.sees * 1_500,
            "{all} bytes are not {} Droplets",
            self.sees
        );
        took
    }

    async fn page(&self, kept: &mut Kept, number: usize) -> bytes::Bytes {
        let ask = self.house.gate.get(&target(number)).token(&self.token);
        let answer = ask.try_send_over(kept).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }
}

pub async fn measure() -> Report {
    let house = House::open().await;
    let mut report = Report::new(["straight from the API", "through tidegate"]);
    memory(&mut report, &house).await;
    for (pace, team, bound) in [
        (Some(PACE), FEW, true),
        (Some(PACE), MOST_OF_THEM, true),
        (None, FEW, false),
        (None, MOST_OF_THEM, false),
    ] {
        house.at_pace(pace);
        times(&mut report, &house, pace, team, bound).await;
    }
    let House { api, gate, .. } = house;
    gate.finish(&api).await;
    report
}

/// The time of one reading, straight and through tidegate in turns; nothing is known beforehand.
async fn times(
    report: &mut Report,
    house: &House,
    pace: Option<Duration>,
    team: Team,
    bound: bool,
) {
    let name = format!("{}-{}", team.role, pace.is_some());
    let (straight, client) = (house.straight(), house.client(&name, team).await);
    let (mut alone, mut through, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(straight.read().await.as_secs_f64());
        house.forget().await;
        let before = process::processor_time(house.gate.pid());
        through.push(client.read().await.as_secs_f64());
        spent.push(
            process::processor_time(house.gate.pid())
                .saturating_sub(before)
                .as_secs_f64(),
        );
    }
    let cells = [median(alone), median(through)];
    let ratio = cells[1] / cells[0];
    let pace = pace.map_or_else(
        || "answered at once".to_owned(),
        |pace| format!("{} each", millis(pace)),
    );
    let what = format!(
        "{DROPLETS} Droplets in {} pages, {pace}; {} may be seen",
        DROPLETS.div_ceil(PER_PAGE),
        team.sees
    );
    let told = if bound {
        format!("{ratio:.2} times; at most {MOST}")
    } else {
        format!("{ratio:.2} times")
    };
    let cells = cells.map(|seconds| millis(Duration::from_secs_f64(seconds)));
    report.row(&what, cells, &told, bound.then_some(ratio <= MOST));
    let spent = millis(Duration::from_secs_f64(median(spent)));
    report.row(
        "the same: processor time of tidegate",
        [String::new(), spent],
        "",
        None,
    );
}

/// What the daemon has of memory before, at most during, and after.
async fn memory(report: &mut Report, house: &House) {
    let pid = house.gate.pid();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(
            house
                .client(&format!("client-{number}"), MOST_OF_THEM)
                .await,
        );
    }
    let row = |report: &mut Report, what: &str, count: u64| {
        report.row(what, [String::new(), bytes(count)], "", None);
    };
    row(report, "memory before", process::resident(pid));
    house.forget().await;
    process::forget_peak(pid);
    clients[0].read().await;
    let one = process::peak(pid);
    row(report, "memory at most, one client reading", one);
    house.forget().await;
    process::forget_peak(pid);
    join_all(clients.iter().map(Client::read)).await;
    let all = process::peak(pid);
    let each = all.saturating_sub(one) / (CLIENTS as u64 - 1);
    let what = format!("memory at most, {CLIENTS} clients reading at once");
    let bound = format!(
        "{:.1} MB for each further client; at most {}",
        mega(each),
        bytes(A_CLIENT)
    );
    let cells = [String::new(), bytes(all)];
    report.row(&what, cells, &bound, Some(each <= A_CLIENT));
    house.forget().await;
    tokio::time::sleep(Duration::from_secs(5)).await; // what is kept is kept for three
    row(report, "memory five seconds after", process::resident(pid));
}

#[expect(clippy::cast_precision_loss, reason = "it is printed with one digit")]
fn mega(count: u64) -> f64 {
    count as f64 / 1e6
}

fn target(page: usize) -> String {
    format!("/v2/droplets?page={page}&per_page={PER_PAGE}")
}

/// All pages as the API gives them.
fn pages() -> Vec<String> {
    let all: Vec<Value> = (0..DROPLETS).map(droplet).collect();
    let page = |droplets: &[Value]| {
        json!({ "droplets": droplets, "links": {}, "meta": { "total": DROPLETS } }).to_string()
    };
    all.chunks(PER_PAGE).map(page).collect()
}
