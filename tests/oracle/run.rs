//! Running it: many roles behind one gate, each with an account of its own, each asking many times over one connection.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tidegate::server::{self, Inherited};
use tidegate::token::SubToken;

use super::ask::{Asker, Endpoint, Request, endpoints};
use super::judge::Case;
use super::kinds::KINDS;
use super::odd::{ODDITIES, odd};
use super::policy::{Drawer, Lure, Role};
use super::reading::Reading;
use super::rng::Rng;
use super::serve::{Account, Accounts, serve};
use super::talk::Client;
use super::world::{Key, World, account, word};

const ROLES: usize = 250;
const ASKED: usize = 100;

/// What to run.
pub struct Plan {
    seed: u64,
    cases: usize,
    only: Option<[u64; 3]>,
    until_found: bool,
}

impl Plan {
    pub fn from_environment() -> Self {
        let number = |name: &str, usual: u64| {
            env::var(name).map_or(usual, |text| text.parse().expect("a number"))
        };
        let mut plan = Self {
            seed: number("ORACLE_SEED", 20_261_129),
            cases: usize::try_from(number("ORACLE_CASES", 12_000)).unwrap(),
            only: None,
            until_found: env::var_os("ORACLE_UNTIL_FOUND").is_some(),
        };
        if let Ok(case) = env::var("ORACLE_CASE") {
            let parts: Vec<u64> = case
                .split('/')
                .map(|part| part.parse().expect("seed/batch/role/case"))
                .collect();
            plan.seed = parts[0];
            plan.only = Some([parts[1], parts[2], parts[3]]);
        }
        plan
    }

    /// Whether it is large enough to say something by what it did not find.
    pub fn is_whole(&self) -> bool {
        self.only.is_none() && !self.until_found && self.cases >= 12_000
    }
}

/// What came of it.
#[derive(Default)]
pub struct Told {
    asked: usize,
    let_through: usize,
    changed: usize,
    by_family: BTreeMap<String, usize>,
    by_endpoint: BTreeMap<usize, (usize, usize)>,
    by_oddity: BTreeMap<&'static str, (usize, usize)>,
    by_reason: BTreeMap<String, usize>,
    /// By what is wrong, the endpoint and the oddity: how often, and the first case in full.
    pub wrong: BTreeMap<String, (usize, String)>,
    /// How many had been asked when the first was found, in their order.
    first: Option<u64>,
    took: Duration,
}

impl Told {
    pub fn print(&self) {
        eprintln!(
            "{} requests, {} let through, {} changed something, in {:.0?}",
            self.asked, self.let_through, self.changed, self.took
        );
        eprintln!("changed, by family: {:?}", self.by_family);
        eprintln!("refused: {:?}", self.by_reason);
        eprintln!("let through of those asked oddly: {:?}", self.by_oddity);
        let endpoints = endpoints();
        let never: Vec<String> = (0..endpoints.len())
            .filter(|at| {
                endpoints[*at].method != "GET"
                    && self
                        .by_endpoint
                        .get(at)
                        .is_none_or(|(_, through)| *through == 0)
            })
            .map(|at| format!("{} {}", endpoints[at].method, endpoints[at].template))
            .collect();
        eprintln!(
            "changing endpoints that were never let through: {} {}",
            never.len(),
            if self.wrong.is_empty() {
                String::new()
            } else {
                format!("{never:?}")
            }
        );
        if let Some(first) = self.first {
            eprintln!("first found at case {first}");
        }
        for (what, (count, case)) in &self.wrong {
            eprintln!("\n==== {count} × {what}\n{case}");
        }
    }

    /// A gate that refuses all would pass: so many must be let through, of every family, and of each endpoint that names most.
    pub fn assert_not_vacuous(&self) {
        let (asked, through, changed) = (self.asked, self.let_through, self.changed);
        assert!(
            through * 4 > asked,
            "only {through} of {asked} were let through"
        );
        assert!(
            changed * 8 > asked,
            "only {changed} of {asked} changed something"
        );
        let read_only = ["account", "actions"];
        for kind in KINDS
            .iter()
            .filter(|kind| !read_only.contains(&kind.family))
        {
            let count = self.by_family.get(kind.family).copied();
            assert!(count.is_some(), "nothing of {} changed", kind.family);
        }
        let endpoints = endpoints();
        let through = |at: usize| self.by_endpoint.get(&at).map_or(0, |(_, through)| *through);
        for at in (0..endpoints.len()).filter(|at| is_hot(&endpoints[*at])) {
            assert!(
                through(at) >= 5,
                "{} {} was let through {} times",
                endpoints[at].method,
                endpoints[at].template,
                through(at)
            );
        }
        let changing =
            (0..endpoints.len()).filter(|at| endpoints[*at].method != "GET" && through(*at) > 0);
        assert!(
            changing.count() >= 150,
            "few endpoints that change something were let through"
        );
    }

    fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.let_through += other.let_through;
        self.changed += other.changed;
        for (family, count) in other.by_family {
            *self.by_family.entry(family).or_default() += count;
        }
        for (endpoint, (asked, through)) in other.by_endpoint {
            let entry = self.by_endpoint.entry(endpoint).or_default();
            *entry = (entry.0 + asked, entry.1 + through);
        }
        for (oddity, (asked, through)) in other.by_oddity {
            let entry = self.by_oddity.entry(oddity).or_default();
            *entry = (entry.0 + asked, entry.1 + through);
        }
        for (reason, count) in other.by_reason {
            *self.by_reason.entry(reason).or_default() += count;
        }
        self.first = self.first.into_iter().chain(other.first).min();
        for (what, (count, case)) in other.wrong {
            self.wrong.entry(what).or_insert((0, case)).0 += count;
        }
    }
}

/// What is drawn once and for all.
struct House {
    world: World,
    all: Vec<Key>,
    mine: Vec<Key>,
    theirs: Vec<Key>,
    endpoints: Vec<Endpoint>,
    /// The words by which things are found in answers.
    words: Vec<(Key, String)>,
}

impl House {
    fn new() -> Self {
        let world = account();
        let all: Vec<Key> = world
            .keys()
            .filter(|key| key.kind != "account")
            .cloned()
            .collect();
        let of = |team: &str| {
            all.iter()
                .filter(|key| is_of(&world, key, team))
                .cloned()
                .collect()
        };
        let words = all.iter().filter_map(|key| {
            let value = world.get(key).filter(|value| value["public"] != true)?;
            Some((key.clone(), word(key, value))).filter(|(_, word)| !word.is_empty())
        });
        Self {
            words: words.collect(),
            mine: of("a"),
            theirs: of("b"),
            all,
            world,
            endpoints: endpoints(),
        }
    }
}

/// Whether a thing is a team's: by its word, its name or its parent.
fn is_of(world: &World, key: &Key, team: &str) -> bool {
    let Some(value) = world.get(key) else {
        return false;
    };
    let by_word = word(key, value).starts_with(&format!("{team}-"));
    let by_name =
        key.own().ends_with(&format!("-{team}")) || key.own().ends_with(&format!("{team}.example"));
    let by_home = key.kind == "reserved_ip"
        && world
            .attribute(key, "project")
            .is_some_and(|home| home.contains(&format!("project-{team}")));
    by_word
        || by_name
        || by_home
        || key
            .parent()
            .is_some_and(|parent| is_of(world, &parent, team))
}

pub fn run(plan: &Plan) -> Told {
    let house = Arc::new(House::new());
    let started = Instant::now();
    let mut told = Told::default();
    if let Some([batch, role, case]) = plan.only {
        told.add(one_batch(plan, &house, batch, &[role], &[case]));
        return told;
    }
    let each = ROLES * ASKED;
    for batch in 0..plan.cases.div_ceil(each) {
        let roles = ROLES.min((plan.cases - batch * each).div_ceil(ASKED));
        let roles: Vec<u64> = (0..u64::try_from(roles).unwrap()).collect();
        let asked: Vec<u64> = (0..u64::try_from(ASKED).unwrap()).collect();
        told.add(one_batch(
            plan,
            &house,
            u64::try_from(batch).unwrap(),
            &roles,
            &asked,
        ));
        if plan.until_found && !told.wrong.is_empty() {
            break;
        }
    }
    told.took = started.elapsed();
    told
}

/// A gate, and all that its roles ask.
fn one_batch(plan: &Plan, house: &Arc<House>, batch: u64, roles: &[u64], asked: &[u64]) -> Told {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .unwrap();
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .unwrap();
    let told = runtime.block_on(async {
        let drawn: Vec<(u64, Role, Reading)> = roles
            .iter()
            .map(|role| draw(plan, house, batch, *role))
            .collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tokens, accounts) = written(
            directory.path(),
            &drawn,
            house,
            &listener.local_addr().unwrap().to_string(),
        );
        tokio::spawn(serve(listener, accounts.clone()));
        let config = directory.path().join("tidegate.yaml");
        tokio::spawn(async move {
            if let Err(failed) = server::run(&config, Inherited::none()).await {
                eprintln!("{failed}");
            }
        });
        let socket = directory.path().join("gate.sock");
        let mut waited = 0;
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            waited += 1;
            assert!(waited < 2000, "the gate does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let queue = Arc::new(Mutex::new(
            drawn.into_iter().zip(tokens).rev().collect::<Vec<_>>(), // the first is asked first
        ));
        let mut workers = tokio::task::JoinSet::new();
        let found = Arc::new(AtomicBool::new(false));
        for _ in 0..4 {
            let (queue, house, accounts, socket) = (
                queue.clone(),
                house.clone(),
                accounts.clone(),
                socket.clone(),
            );
            let (asked, seed, verbose) = (asked.to_vec(), plan.seed, plan.only.is_some());
            let (until_found, found) = (plan.until_found, found.clone());
            workers.spawn(async move {
                let mut told = Told::default();
                loop {
                    let next = queue.lock().unwrap().pop();
                    let next = next.filter(|_| !until_found || !found.load(Ordering::Relaxed));
                    let Some(((role, policy, reading), token)) = next else {
                        return told;
                    };
                    let mut session = Session {
                        house: &house,
                        seed,
                        batch,
                        role,
                        policy,
                        reading,
                        account: accounts.get(&real_token(role)).unwrap(),
                        client: Client::new(socket.clone(), token),
                        verbose,
                    };
                    told.add(session.ask_all(&asked).await);
                    found.fetch_or(!told.wrong.is_empty(), Ordering::Relaxed);
                }
            });
        }
        let mut told = Told::default();
        while let Some(worker) = workers.join_next().await {
            told.add(worker.unwrap());
        }
        told
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    told
}

fn draw(plan: &Plan, house: &House, batch: u64, role: u64) -> (u64, Role, Reading) {
    let mut rng = Rng::of(&[plan.seed, batch, role]);
    let drawer = Drawer {
        world: &house.world,
        mine: &house.mine,
        theirs: &house.theirs,
    };
    let drawn = drawer.role(&mut rng);
    let mut reading = Reading::draw(&mut rng, &[]);
    reading.answers = rng.chance(if drawn.lure.answers { 75 } else { 8 });
    (role, drawn, reading)
}

fn real_token(role: u64) -> String {
    format!("dop_v1_{role:064x}")
}

/// Writes the gate's files; the sub-tokens, and the accounts behind the real ones.
fn written(
    directory: &Path,
    drawn: &[(u64, Role, Reading)],
    house: &House,
    upstream: &str,
) -> (Vec<String>, Accounts) {
    let (mut roles, mut tokens, mut accounts, mut written, mut secrets) = (
        Map::new(),
        Vec::new(),
        HashMap::new(),
        Map::new(),
        Vec::new(),
    );
    for (role, policy, reading) in drawn {
        let name = format!("r{role}");
        roles.insert(name.clone(), policy.written(&name));
        let token = SubToken::generate().unwrap();
        let hash: String = sha256(token.secret.expose());
        tokens.push(json!({ "name": name, "id": token.id.to_string(), "hash": format!("sha256:{hash}"), "roles": [name] }));
        secrets.push(token.secret.expose().to_owned());
        let file = format!("{name}.token");
        let mut own = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.join(&file))
            .unwrap();
        std::io::Write::write_all(&mut own, real_token(*role).as_bytes()).unwrap();
        written.insert(name, json!({ "token_file": file }));
        let account = Account {
            world: house.world.clone(),
            reading: reading.clone(),
            used: Vec::new(),
            heard: Vec::new(),
        };
        accounts.insert(real_token(*role), Mutex::new(account));
    }
    let policy = json!({ "version": 1, "roles": roles, "tokens": tokens });
    fs::write(directory.join("policy.yaml"), policy.to_string()).unwrap();
    let config = json!({
        "listen": [{ "unix": "gate.sock" }],
        "upstream": { "url": format!("http://{upstream}") },
        "accounts": written,
        "policy": "policy.yaml",
        "state": "tidegate.db",
        "audit": { "file": "audit.jsonl" },
    });
    fs::write(directory.join("tidegate.yaml"), config.to_string()).unwrap();
    (secrets, Arc::new(accounts))
}

fn sha256(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text)
        .iter()
        .fold(String::new(), |mut all, byte| {
            let _ = write!(all, "{byte:02x}");
            all
        })
}

/// From what the requests of a role are drawn.
struct Drawn {
    taken: Vec<Key>,
    struck: Vec<Key>,
    given: Vec<usize>,
    hot: Vec<usize>,
    lured: Vec<usize>,
}

/// One role, and all that it asks.
struct Session<'s> {
    house: &'s House,
    seed: u64,
    batch: u64,
    role: u64,
    policy: Role,
    reading: Reading,
    account: &'s Mutex<Account>,
    client: Client,
    verbose: bool,
}

impl Session<'_> {
    async fn ask_all(&mut self, cases: &[u64]) -> Told {
        let world = &self.house.world;
        let takes = |key: &&Key| {
            self.policy.allow.iter().any(|grant| {
                !grant.scopes.is_empty()
                    && grant
                        .only
                        .as_ref()
                        .is_none_or(|only| only.accepts(world, key, true))
            })
        };
        let taken: Vec<Key> = self.house.all.iter().filter(takes).cloned().collect();
        let strikes = |key: &&Key| {
            self.policy.deny.iter().any(|grant| {
                grant
                    .only
                    .as_ref()
                    .is_some_and(|only| only.strikes(world, key))
            })
        };
        let struck: Vec<Key> = self.house.all.iter().filter(strikes).cloned().collect();
        let endpoints = &self.house.endpoints;
        let given: Vec<usize> = (0..endpoints.len()).filter(|at| self.gives(*at)).collect();
        let part = |is: &dyn Fn(&Endpoint) -> bool| -> Vec<usize> {
            let fits = |at: &&usize| is(&endpoints[**at]);
            given.iter().filter(fits).copied().collect()
        };
        let (hot, lured) = (part(&is_hot), part(&|endpoint| self.lures(endpoint)));
        let drawn = Drawn {
            taken,
            struck,
            given: given.clone(),
            hot,
            lured,
        };
        let mut told = Told::default();
        for case in cases {
            let mut rng = Rng::of(&[self.seed, self.batch, self.role, *case, 7]);
            let request = self.draw(&mut rng, &drawn);
            let moved = self.ask(&request, *case, &mut told).await;
            if moved && !self.verbose {
                break; // which project a thing is in is remembered for a minute, and the account is put back now
            }
        }
        told
    }

    fn gives(&self, at: usize) -> bool {
        let endpoint = &self.house.endpoints[at];
        let any = endpoint
            .scopes
            .iter()
            .any(|scope| self.policy.allow.iter().any(|grant| grant.gives(scope)));
        let read = endpoint.template.len().is_multiple_of(3) || self.lures(endpoint);
        any && (endpoint.method != "GET" || read)
    }

    /// Whether an endpoint is one of those that the role would be tried with first: what its lure says, or where the path is of
    /// such a thing.
    fn lures(&self, endpoint: &Endpoint) -> bool {
        let Lure {
            endpoints, things, ..
        } = &self.policy.lure;
        if !endpoints.is_empty() {
            let is_it = |(method, begin): &(&str, &str)| {
                let fits = match begin.strip_suffix('$') {
                    Some(whole) => endpoint.template == whole,
                    None => endpoint.template.starts_with(begin),
                };
                endpoint.method == *method && fits
            };
            return endpoints.iter().any(is_it);
        }
        let below = |key: &Key| format!("{}/", key.kind().path);
        things
            .iter()
            .any(|key| endpoint.method != "GET" && endpoint.template.starts_with(&below(key)))
    }

    fn draw(&self, rng: &mut Rng, drawn: &Drawn) -> Request {
        let Drawn {
            taken,
            struck,
            given,
            hot,
            lured,
        } = drawn;
        let endpoints = &self.house.endpoints;
        let asker = Asker {
            world: &self.house.world,
            endpoints,
            taken,
            struck,
            all: &self.house.all,
            lure: &self.policy.lure,
        };
        // A third goes to the families in which one thing is made of others.
        let endpoint = match rng.maybe(given) {
            Some(_) if !lured.is_empty() && rng.chance(50) => *rng.pick(lured),
            Some(_) if !hot.is_empty() && rng.chance(40) => *rng.pick(hot),
            Some(first) if rng.chance(80) => {
                let dense = |at: &usize| {
                    DENSE
                        .iter()
                        .any(|prefix| endpoints[*at].template.starts_with(prefix))
                };
                (0..3)
                    .map(|_| *rng.pick(given))
                    .find(dense)
                    .unwrap_or(*first)
            }
            _ => rng.below(endpoints.len()),
        };
        let draft = asker.draft(rng, endpoint);
        let odd_lures = self.policy.lure.odd;
        if !odd_lures.is_empty() && rng.chance(40) {
            let how = *rng.pick(odd_lures);
            return odd(rng, draft, endpoints, how);
        }
        if rng.chance(45) {
            let how = *rng.pick(&ODDITIES);
            return odd(rng, draft, endpoints, how);
        }
        draft.written(endpoints)
    }

    /// Asks, judges, and puts the account back; true if something was moved to another project.
    async fn ask(&mut self, request: &Request, case: u64, told: &mut Told) -> bool {
        let answer = self.client.ask(request).await;
        let (after, used, heard) = {
            let mut account = self.account.lock().unwrap();
            let after = std::mem::replace(&mut account.world, self.house.world.clone());
            (
                after,
                std::mem::take(&mut account.used),
                std::mem::take(&mut account.heard),
            )
        };
        let judged = Case {
            role: &self.policy,
            endpoints: &self.house.endpoints,
            request,
            status: answer.status,
            body: &answer.body,
            before: &self.house.world,
            after: &after,
            used: &used,
            heard: &heard,
            words: &self.house.words,
            scopes: OnceCell::new(),
        };
        let wrong = judged.judge();
        let through = answer.reason.is_empty() && (200..300).contains(&answer.status);
        let changes = self.house.world.difference(&after);
        told.asked += 1;
        told.let_through += usize::from(through);
        told.changed += usize::from(!changes.is_empty());
        let entry = told.by_endpoint.entry(request.endpoint).or_default();
        *entry = (entry.0 + 1, entry.1 + usize::from(through));
        if !through {
            let reason = format!("{} {}", answer.status, answer.reason);
            *told.by_reason.entry(reason).or_default() += 1;
        }
        if let Some(odd) = request.odd {
            let entry = told.by_oddity.entry(odd).or_default();
            *entry = (entry.0 + 1, entry.1 + usize::from(through));
        }
        if let Some(change) = changes.first() {
            *told
                .by_family
                .entry(change.key.kind().family.to_owned())
                .or_default() += 1;
        }
        let endpoint = &self.house.endpoints[request.endpoint];
        if self.verbose {
            eprintln!(
                "{}",
                self.tell(
                    &judged,
                    case,
                    &answer.reason,
                    &changes.iter().map(ToString::to_string).collect::<Vec<_>>()
                )
            );
        }
        if !wrong.is_empty() && told.first.is_none() {
            let roles = self.batch * u64::try_from(ROLES).unwrap() + self.role;
            told.first = Some(roles * u64::try_from(ASKED).unwrap() + case);
        }
        for one in wrong {
            let what = format!(
                "{} {} {} {}",
                one.check,
                endpoint.method,
                endpoint.template,
                request.odd.unwrap_or("plain")
            );
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            let tell = || {
                format!(
                    "{}\n{}",
                    one.what,
                    self.tell(&judged, case, &answer.reason, &changes)
                )
            };
            let entry = told.wrong.entry(what).or_insert_with(|| (0, tell()));
            entry.0 += 1;
        }
        changes.iter().any(|change| {
            change.was && change.is && self.house.world.home(&change.key) != after.home(&change.key)
        })
    }

    fn tell(&self, case: &Case<'_>, number: u64, reason: &str, changes: &[String]) -> String {
        let heard: Vec<String> = case
            .heard
            .iter()
            .map(|heard| {
                format!(
                    "    {} {} {} {}",
                    heard.status,
                    heard.method,
                    heard.target,
                    String::from_utf8_lossy(&heard.body)
                )
            })
            .collect();
        let policy: Value = self.policy.written("x");
        format!(
            "  case    ORACLE_CASE={}/{}/{}/{number}\n  policy  {policy}\n  server  {:?}\n  asked   {} {} {}\n  answer  {} {reason} {}\n  heard\n{}\n  differs {changes:?} {:?}",
            self.seed,
            self.batch,
            self.role,
            self.reading,
            case.request.method,
            case.request.target,
            case.request.body.as_deref().unwrap_or_default(),
            case.status,
            String::from_utf8_lossy(case.body)
                .chars()
                .take(400)
                .collect::<String>(),
            heard.join("\n"),
            case.used,
        )
    }
}

/// Where things are made of one another.
const DENSE: [&str; 12] = [
    "/v2/droplets",
    "/v2/firewalls",
    "/v2/load_balancers",
    "/v2/tags",
    "/v2/projects",
    "/v2/volumes",
    "/v2/images",
    "/v2/snapshots",
    "/v2/reserved_ips",
    "/v2/domains",
    "/v2/certificates",
    "/v2/kubernetes",
];

/// Where most is named beside the thing that the request is about.
const HOT: [(&str, &str); 34] = [
    ("POST", "/v2/droplets"),
    ("DELETE", "/v2/droplets/{droplet_id}"),
    ("POST", "/v2/droplets/{droplet_id}/actions"),
    (
        "DELETE",
        "/v2/droplets/{droplet_id}/destroy_with_associated_resources/selective",
    ),
    ("POST", "/v2/firewalls"),
    ("PUT", "/v2/firewalls/{firewall_id}"),
    ("POST", "/v2/firewalls/{firewall_id}/droplets"),
    ("DELETE", "/v2/firewalls/{firewall_id}/droplets"),
    ("POST", "/v2/firewalls/{firewall_id}/tags"),
    ("POST", "/v2/load_balancers"),
    ("PUT", "/v2/load_balancers/{lb_id}"),
    ("POST", "/v2/load_balancers/{lb_id}/droplets"),
    ("DELETE", "/v2/load_balancers/{lb_id}/droplets"),
    ("POST", "/v2/tags"),
    ("POST", "/v2/tags/{tag_id}/resources"),
    ("DELETE", "/v2/tags/{tag_id}/resources"),
    ("POST", "/v2/projects/{project_id}/resources"),
    ("PUT", "/v2/projects/{project_id}"),
    ("POST", "/v2/volumes"),
    ("POST", "/v2/volumes/{volume_id}/actions"),
    ("POST", "/v2/volumes/actions"),
    ("DELETE", "/v2/snapshots/{snapshot_id}"),
    ("DELETE", "/v2/images/{image_id}"),
    ("POST", "/v2/reserved_ips/{reserved_ip}/actions"),
    ("POST", "/v2/floating_ips/{floating_ip}/actions"),
    ("PUT", "/v2/kubernetes/clusters/{cluster_id}"),
    ("POST", "/v2/kubernetes/clusters"),
    ("POST", "/v2/kubernetes/clusters/{cluster_id}/node_pools"),
    (
        "PUT",
        "/v2/kubernetes/clusters/{cluster_id}/node_pools/{node_pool_id}",
    ),
    ("POST", "/v2/domains/{domain_name}/records"),
    (
        "PATCH",
        "/v2/domains/{domain_name}/records/{domain_record_id}",
    ),
    ("POST", "/v2/certificates"),
    ("POST", "/v2/cdn/endpoints"),
    ("PUT", "/v2/vpcs/{vpc_id}"),
];

fn is_hot(endpoint: &Endpoint) -> bool {
    HOT.contains(&(endpoint.method, endpoint.template))
}
