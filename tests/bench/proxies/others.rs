//! What is compared: processes, where they listen, and for nginx, HAProxy and Caddy the nearest that they can do: a table of
//! tokens, a list of paths, another `Authorization`, an access log, and connections to the API that are kept.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::REAL_TOKEN;

/// A proxy that runs.
pub struct Proxy {
    pub name: &'static str,
    pub plain: SocketAddr,
    pub tls: Option<SocketAddr>,
    pub pid: u32,
    _child: Option<Running>,
}

impl Proxy {
    pub fn new(name: &'static str, pid: u32, plain: SocketAddr, tls: SocketAddr) -> Self {
        Self {
            name,
            plain,
            tls: Some(tls),
            pid,
            _child: None,
        }
    }
}

/// A process that ends with its owner.
pub struct Running(Child);

impl Drop for Running {
    /// By a signal that lets nginx end its workers too.
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

/// A program, or what it runs under.
fn program(under: &[String], program: &OsStr) -> Command {
    let Some((first, others)) = under.split_first() else {
        return Command::new(program);
    };
    let mut command = Command::new(first);
    command.args(others).arg(program);
    command
}

/// Starts this program again as one of its parts, which says its address.
pub fn part(arguments: &[&str], under: &[String]) -> (Running, SocketAddr) {
    let mut command = program(under, std::env::current_exe().unwrap().as_os_str());
    let piped = Stdio::piped; // its input ends with this process, and so does it
    command.args(arguments).stdin(piped()).stdout(piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let out = child.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    (Running(child), line.trim().parse().unwrap())
}

/// Hyper alone.
pub fn floor(upstream: SocketAddr, workers: usize, under: &[String]) -> Proxy {
    let (child, plain) = part(
        &["floor", &upstream.to_string(), &workers.to_string()],
        under,
    );
    Proxy {
        name: "bare hyper",
        plain,
        tls: None,
        pid: child.0.id(),
        _child: Some(child),
    }
}

/// What the others are set up with.
pub struct Setup<'s> {
    pub directory: &'s Path,
    pub upstream: SocketAddr,
    pub tokens: &'s [String],
    pub roles: usize,
    /// The threads, or processes, that each serves with.
    pub workers: usize,
}

/// Those of the others that are installed; what is not is told.
pub fn others(setup: &Setup<'_>) -> Vec<Proxy> {
    let both = fs::read(setup.path("server.pem")).unwrap();
    let key = fs::read(setup.path("server.key")).unwrap();
    fs::write(setup.path("both.pem"), [both, key].concat()).unwrap();
    [setup.nginx(), setup.haproxy(), setup.caddy()]
        .into_iter()
        .flatten()
        .collect()
}

impl Setup<'_> {
    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Regular expressions for `METHOD /path`: what the roles allow.
    fn allowed(&self) -> Vec<String> {
        let all = "(GET|POST|PUT|DELETE)";
        let mut allowed = vec![
            "^GET /v2/account$".to_owned(),
            format!("^{all} /v2/droplets(/[0-9]+)?$"),
            "^POST /v2/droplets/[0-9]+/actions$".to_owned(),
            format!("^{all} /v2/images(/[0-9]+)?$"),
            "^GET /v2/(snapshots|regions|sizes)$".to_owned(),
            "^(GET|POST) /v2/tags$".to_owned(),
        ];
        allowed.extend((0..self.roles).map(|role| {
            format!("^GET /v2/domains/team-{role}\\.example\\.com(/records(/[0-9]+)?)?$")
        }));
        allowed
    }

    fn start(
        &self,
        name: &'static str,
        (program, under): (&str, &[String]),
        arguments: &[&str],
        ports: [SocketAddr; 2],
    ) -> Option<Proxy> {
        let log = fs::File::create(self.path(&format!("{program}.log"))).unwrap();
        let spawned = self::program(under, program.as_ref())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .env("XDG_DATA_HOME", self.directory)
            .env("XDG_CONFIG_HOME", self.directory)
            .env("GOMAXPROCS", self.workers.to_string())
            .spawn();
        let Ok(child) = spawned else {
            println!("{name} is left out: it is not installed; `apt-get install {program}`");
            return None;
        };
        let child = Running(child);
        let began = Instant::now();
        while TcpStream::connect(ports[0]).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                let said = fs::read_to_string(self.path(&format!("{program}.log"))).unwrap();
                panic!("{name} does not listen: {said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Proxy {
            name,
            plain: ports[0],
            tls: Some(ports[1]),
            pid: child.0.id(),
            _child: Some(child),
        })
    }

    fn nginx(&self) -> Option<Proxy> {
        self.nginx_of(&format!("worker_processes {};", self.workers), &[])
    }

    /// One process of it, under another program.
    pub fn nginx_alone(&self, under: &[String]) -> Option<Proxy> {
        self.nginx_of("master_process off;", under)
    }

    fn nginx_of(&self, processes: &str, under: &[String]) -> Option<Proxy> {
        let [plain, tls] = free();
        let (mut tokens, mut allowed) = (String::new(), String::new());
        for (number, token) in self.tokens.iter().enumerate() {
            writeln!(tokens, "\"Bearer {token}\" token-{number};").unwrap();
        }
        for pattern in self.allowed() {
            writeln!(allowed, "\"~{pattern}\" 1;").unwrap();
        }
        let directory = self.directory.display();
        let config = format!(
            "daemon off; user root; {processes} pid {directory}/nginx.pid; error_log {directory}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {directory}/nginx-access.log;
  map_hash_max_size 8192; map_hash_bucket_size 256; variables_hash_max_size 4096;
  map $http_authorization $who {{ default \"\"; {tokens} }}
  map \"$request_method $uri\" $may {{ default 0; {allowed} }}
  upstream api {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}
  keepalive_requests 100000000;
  proxy_buffer_size 16k; proxy_buffers 16 32k; proxy_busy_buffers_size 64k;
  server {{
    listen {plain}; listen {tls} ssl;
    ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
    location / {{
      if ($who = \"\") {{ return 401; }}
      if ($may = 0) {{ return 403; }}
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Authorization \"Bearer {REAL_TOKEN}\";
      proxy_pass http://api;
    }}
  }}
}}\n",
            upstream = self.upstream,
        );
        fs::write(self.path("nginx.conf"), config).unwrap();
        let file = self.path("nginx.conf");
        let log = self.path("nginx-error.log");
        let arguments = ["-c", &file, "-p", &self.path(""), "-e", &log];
        self.start("nginx", ("nginx", under), &arguments, [plain, tls])
    }

    fn haproxy(&self) -> Option<Proxy> {
        let [plain, tls] = free();
        let mut tokens = String::new();
        for (number, token) in self.tokens.iter().enumerate() {
            writeln!(tokens, "{token} token-{number}").unwrap();
        }
        fs::write(self.path("haproxy-tokens"), tokens).unwrap();
        fs::write(self.path("haproxy-allowed"), self.allowed().join("\n")).unwrap();
        let directory = self.directory.display();
        let config = format!(
            "global
  nbthread {workers}
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  http-reuse always
frontend clients
  bind {plain}
  bind {tls} ssl crt {directory}/both.pem
  http-request set-var(txn.who) req.hdr(authorization),word(2,\" \"),map_str({directory}/haproxy-tokens)
  http-request deny deny_status 401 unless {{ var(txn.who) -m found }}
  http-request set-var-fmt(txn.line) \"%[method] %[path]\"
  http-request deny deny_status 403 unless {{ var(txn.line) -m reg -f {directory}/haproxy-allowed }}
  http-request set-header authorization \"Bearer {REAL_TOKEN}\"
  default_backend api
backend api
  server api {upstream}\n",
            upstream = self.upstream,
            workers = self.workers,
        );
        fs::write(self.path("haproxy.cfg"), config).unwrap();
        let file = self.path("haproxy.cfg");
        self.start(
            "HAProxy",
            ("haproxy", &[]),
            &["-db", "-f", &file],
            [plain, tls],
        )
    }

    fn caddy(&self) -> Option<Proxy> {
        let [plain, tls] = free();
        let mut tokens = String::new();
        for (number, token) in self.tokens.iter().enumerate() {
            writeln!(tokens, "      \"Bearer {token}\" token-{number}").unwrap();
        }
        let directory = self.directory.display();
        let config = format!(
            "{{
  admin off
  auto_https off
  storage file_system {directory}/caddy
}}
(gate) {{
  bind 127.0.0.1
  log {{
    output file {directory}/caddy-access.log
  }}
  map {{http.request.header.Authorization}} {{who}} {{
{tokens}      default stranger
  }}
  @stranger expression {{who}} == \"stranger\"
  respond @stranger 401
  @other not path /v2/account /v2/droplets /v2/droplets/* /v2/images /v2/images/* /v2/snapshots /v2/regions /v2/sizes /v2/tags
  respond @other 403
  reverse_proxy {upstream} {{
    header_up Authorization \"Bearer {REAL_TOKEN}\"
  }}
}}
http://:{plain} {{
  import gate
}}
https://:{tls} {{
  tls {directory}/server.pem {directory}/server.key
  import gate
}}\n",
            plain = plain.port(),
            tls = tls.port(),
            upstream = self.upstream,
        );
        fs::write(self.path("Caddyfile"), config).unwrap();
        let file = self.path("Caddyfile");
        let arguments = ["run", "--config", &file, "--adapter", "caddyfile"];
        self.start("Caddy", ("caddy", &[]), &arguments, [plain, tls])
    }
}

/// Two ports of loopback that nobody listens at.
fn free() -> [SocketAddr; 2] {
    let bound = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    bound.map(|listener| listener.local_addr().unwrap())
}
