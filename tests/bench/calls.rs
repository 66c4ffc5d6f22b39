//! How many calls of the API a client's calls come to, by what they are for.

use std::fmt;
use std::ops::{AddAssign, Sub};

use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::report::Report;
use crate::support::{Answer, Gate, StandInApi, World};

/// Calls of the API.
#[derive(Clone, Copy, Default)]
struct Calls {
    forward: u32,
    facts: u32,
    list: u32,
}

impl Calls {
    fn sum(self) -> u32 {
        self.forward + self.facts + self.list
    }
}

impl AddAssign for Calls {
    fn add_assign(&mut self, other: Self) {
        self.forward += other.forward;
        self.facts += other.facts;
        self.list += other.list;
    }
}

impl Sub for Calls {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            forward: self.forward - before.forward,
            facts: self.facts - before.facts,
            list: self.list - before.list,
        }
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            forward,
            facts,
            list,
        } = self;
        write!(f, "{} ({forward} + {facts} + {list})", self.sum())
    }
}

/// A daemon, the API behind it, and sub-tokens of one role.
struct House {
    api: StandInApi,
    gate: Gate,
    tokens: Vec<String>,
}

impl House {
    async fn open(role: &str, world: World, tokens: usize) -> Self {
        let api = StandInApi::start_with(world).await;
        let gate = Gate::builder(&api)
            .policy(&format!("version: 1\nroles:\n  r:\n{role}"))
            .set("admin", json!({ "address": "127.0.0.1:0" }))
            .start()
            .await;
        let mut house = Self {
            api,
            gate,
            tokens: Vec::new(),
        };
        for number in 0..tokens {
            let name = format!("t{number}");
            house
                .tokens
                .push(house.gate.issue(&[&name, "--role", "r"]).await);
        }
        house
    }

    /// What the daemon says that it called so far.
    async fn so_far(&self) -> Calls {
        let admin = self.gate.admin_address().unwrap();
        let stream = TcpStream::connect(admin).await.unwrap();
        let page = self.gate.get("/metrics").open_over(stream).await.unwrap();
        let text = page.rest().await.unwrap().text();
        let of = |purpose: &str| {
            let name = format!("tidegate_upstream_calls_total{{purpose=\"{purpose}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.map_or(0, |count| count.parse().unwrap())
        };
        Calls {
            forward: of("forward"),
            facts: of("facts"),
            list: of("list"),
        }
    }

    async fn ask(&self, request: &str, body: &Value) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let ask = self.gate.request(method, path).token(&self.tokens[0]);
        let answer = if body.is_null() {
            ask.send().await
        } else {
            ask.json(body).send().await
        };
        assert!(answer.status.is_success(), "{request}: {}", answer.text());
        answer
    }

    /// What one request comes to. What the daemon says of it is what the API heard.
    async fn calls(&self, request: &str, body: &Value) -> (Calls, Answer) {
        let before = self.so_far().await;
        self.api.clear();
        let answer = self.ask(request, body).await;
        let calls = self.so_far().await - before;
        assert_eq!(calls.sum() as usize, self.api.heard_count(), "{request}");
        (calls, answer)
    }

    async fn close(self) {
        self.gate.finish(&self.api).await;
    }
}

/// The steps of the fixed session, in its order, each with the calls that it came to.
struct Session {
    steps: Vec<(&'static str, u32, Calls)>,
}

impl Session {
    async fn of(role: &str) -> Self {
        let house = House::open(role, World::default(), 1).await;
        let mut steps = Vec::new();
        for (step, request, body) in [
            ("a list", "GET /v2/droplets?page=1&per_page=200", NONE),
            ("a get", "GET /v2/droplets/12", NONE),
            ("a create", "POST /v2/droplets", droplet()),
        ] {
            steps.push((step, 1, house.calls(request, &body).await.0));
        }
        let reboot = json!({ "type": "reboot" });
        let (calls, answer) = house.calls("POST /v2/droplets/12/actions", &reboot).await;
        steps.push(("an action", 1, calls));
        let poll = format!("GET /v2/actions/{}", answer.json()["action"]["id"]);
        let mut polls = Calls::default();
        for _ in 0..POLLS {
            polls += house.calls(&poll, &NONE).await.0;
        }
        steps.push(("its polls", POLLS, polls));
        let (calls, _) = house.calls("DELETE /v2/droplets/12", &NONE).await;
        steps.push(("a delete", 1, calls));
        house.close().await;
        Self { steps }
    }

    fn all(&self) -> (u32, Calls) {
        let mut all = (0, Calls::default());
        for (_, times, calls) in &self.steps {
            all.0 += times;
            all.1 += *calls;
        }
        all
    }

    /// Calls of the API for each of the client's.
    fn each(&self) -> f64 {
        let (times, calls) = self.all();
        f64::from(calls.sum()) / f64::from(times)
    }
}

/// The session by either narrowing, and single figures.
pub async fn measure() -> Report {
    let mut report = Report::new(["narrowed by tag", "narrowed by project"]);
    println!("calls of the API for a client's: all (forwarded + facts + lists)");
    let sessions = [Session::of(BY_TAG).await, Session::of(BY_PROJECT).await];
    for (number, (step, times, by_tag)) in sessions[0].steps.iter().enumerate() {
        let by_project = sessions[1].steps[number].2;
        let bound = match *step {
            "a get" | "its polls" => Some(*times),
            "an action" => Some(2 * times), // one look, and the change
            "a delete" => Some(3 * times), // a look at the Droplet, and at the volume on it that it leaves
            _ => None,
        };
        // By project, what stands in it must be read as well; the bound over the whole session is there for that.
        let looks = matches!(*step, "an action" | "a delete");
        let kept = bound.map(|most| by_tag.sum() <= most && (looks || by_project.sum() <= most));
        let told = match bound {
            Some(most) if looks => format!("at most {most} by tag"),
            Some(most) => format!("{most}"),
            None => String::new(),
        };
        let step = match times {
            1 => (*step).to_owned(),
            times => format!("{step}, {times} in all"),
        };
        report.row(
            &step,
            [by_tag, &by_project].map(Calls::to_string),
            &told,
            kept,
        );
    }
    let each = [&sessions[0], &sessions[1]].map(Session::each);
    report.row(
        "the session, for each of the client's calls",
        each.map(|each| format!("{each:.2}")),
        "at most 1.3 and 1.6",
        Some(each[0] <= 1.3 && each[1] <= 1.6),
    );
    two_resources(&mut report).await;
    many_clients(&mut report).await;
    report
}

/// A change that touches two resources.
async fn two_resources(report: &mut Report) {
    let mut cells = Vec::new();
    for role in [BY_TAG, BY_PROJECT] {
        let house = House::open(role, World::default(), 1).await;
        let request = "POST /v2/volumes/506f78a4-e098-11e5-ad9f-000000000001/actions";
        let attach = json!({ "type": "attach", "droplet_id": 12, "region": "nyc3" });
        cells.push(house.calls(request, &attach).await.0);
        house.close().await;
    }
    let kept = cells[0].facts <= 2;
    let cells = [cells[0].to_string(), cells[1].to_string()];
    report.row(
        "attaching a volume to a Droplet",
        cells,
        "at most 3 by tag",
        Some(kept),
    );
}

/// A list that is read by many at once, and again within the time for which it is kept.
async fn many_clients(report: &mut Report) {
    let crowd = (1..=DROPLETS).fold(World::empty(), |world, id| {
        world.with_droplet(id, &format!("a-{id}"), &["client-a"])
    });
    let mut cells = Vec::new();
    let mut kept = true;
    for role in [BY_TAG, BY_NAME] {
        let house = House::open(role, crowd.clone(), CLIENTS).await;
        let before = house.so_far().await;
        let asked = house.tokens.iter().map(|token| {
            let list = house.gate.get("/v2/droplets?page=1&per_page=200");
            list.token(token).send()
        });
        for list in join_all(asked).await {
            assert_eq!(list.json()["meta"]["total"], DROPLETS);
        }
        let took = house.so_far().await - before;
        kept &= u64::from(took.sum()) <= DROPLETS.div_ceil(200);
        cells.push(took.to_string());
        house.close().await;
    }
    let what = format!("a list of {DROPLETS}, by {CLIENTS} clients at once (the second by name)");
    let bound = format!("at most {}", DROPLETS.div_ceil(200));
    report.row(
        &what,
        [cells[0].clone(), cells[1].clone()],
        &bound,
        Some(kept),
    );
}

fn droplet() -> Value {
    json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
        "ssh_keys": null, "backups": false, "ipv6": false, "monitoring": false, "tags": null })
}

const NONE: Value = Value::Null;
const POLLS: u32 = 10;
const CLIENTS: usize = 50;
const DROPLETS: u64 = 450;

const BY_TAG: &str = "
    allow:
      - scopes: ['droplet:*', 'block_storage:*', 'block_storage_action:*', image:read, snapshot:read, tag:read, tag:create, actions:read]
        only: { tag: client-a }
        on_create: { tags: [client-a] }
      - scopes: [ssh_key:read, regions:read, sizes:read]
";

const BY_PROJECT: &str = "
    allow:
      - scopes: ['droplet:*', 'block_storage:*', 'block_storage_action:*', project:read, project:update, project:assign_resource, actions:read]
        only: { project: client-a }
        on_create: { project: client-a }
      - scopes: [image:read]
        only: { image: { slug: ubuntu-24-04-x64 } }
      - scopes: [ssh_key:read, regions:read, sizes:read]
";

const BY_NAME: &str = "
    allow:
      - scopes: ['droplet:read']
        only: { droplet: { name: 'a-*' } }
";
