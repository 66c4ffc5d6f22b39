//! `--https` and `--intercept`: for clients that insist on TLS, and those whose host is fixed.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::{LIST, Run};
use crate::support::{REAL_TOKEN, StandInApi};

const FIXED: &str = r#"curl -s -f -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" https://api.digitalocean.com/v2/droplets"#;

#[tokio::test]
async fn over_tls_every_client_trusts_the_gate_by_a_certificate_of_this_run() {
    let api = StandInApi::start().await;
    let script = format!(
        "{LIST} -f | head -c 12; echo; echo $DIGITALOCEAN_API_URL
        for file in \"$SSL_CERT_FILE\" \"$REQUESTS_CA_BUNDLE\" \"$CURL_CA_BUNDLE\" \"$CA_BUNDLE\" \"$NODE_EXTRA_CA_CERTS\"; do
            curl -s -f --cacert \"$file\" -o list -H \"Authorization: Bearer $DO_TOKEN\" \"$DIGITALOCEAN_API_URL/v2/droplets\" || echo \"not by $file\"
        done
        grep -c BEGIN \"$NODE_EXTRA_CA_CERTS\"; find $TMPDIR -type f | xargs grep -l PRIVATE"
    );
    let ran = Run::before(&api, &["--role", "read-only", "--https"])
        .shell(&script)
        .await;
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}{}", ran.stdout, ran.stderr);
    assert!(
        lines[0].starts_with("{\"droplets\"") && lines[1].starts_with("https://127.0.0.1:"),
        "{}",
        ran.stdout
    );
    assert_eq!(lines[2], "1", "that of this run alone: Node adds it");
    assert!(
        api.heard()
            .iter()
            .all(|heard| heard.bearer() == Some(REAL_TOKEN))
    );
}

#[tokio::test]
async fn what_the_caller_trusted_stays_trusted_and_nothing_else_comes_to_it() {
    let api = StandInApi::start().await;
    let own = "-----BEGIN CERTIFICATE-----\nb3du\n-----END CERTIFICATE-----\n";
    let run = Run::before(&api, &["--role", "read-only", "--https"]).file("own.pem", own);
    let path = run.path().join("own.pem");
    let script = r#"for file in "$SSL_CERT_FILE" "$REQUESTS_CA_BUNDLE" "$CURL_CA_BUNDLE" "$CA_BUNDLE"; do echo $(grep -c BEGIN "$file") $(grep -c b3du "$file"); done"#;
    let ran = run
        .env("SSL_CERT_FILE", &path)
        .env("REQUESTS_CA_BUNDLE", &path)
        .shell(script)
        .await;
    assert_eq!(ran.stdout, "2 1\n2 1\n2 1\n2 1\n", "{}", ran.stderr);
    let run =
        Run::before(&api, &["--role", "read-only", "--https"]).env("SSL_CERT_FILE", "/none.pem");
    let ran = run.run(&["echo", "ran"]).await;
    assert_eq!((ran.status, &*ran.stdout), (Some(1), ""));
    assert!(
        ran.stderr
            .contains("the certificates that SSL_CERT_FILE names can't be read"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_client_whose_host_is_fixed_comes_to_the_gate() {
    let api = StandInApi::start().await;
    let script = format!(
        "{FIXED} | head -c 12; echo; {LIST} -f -o list && echo led; {FIXED} -X DELETE -o /dev/null; echo $?"
    );
    let run = Run::before(&api, &["--role", "read-only", "--intercept"])
        .env("NO_PROXY", "digitalocean.com"); // what is led goes nowhere else
    let ran = run.shell(&script).await;
    assert_eq!(ran.stdout, "{\"droplets\":\nled\n22\n", "{}", ran.stderr);
    assert_eq!(api.heard().len(), 2);
    assert!(
        ran.stderr.contains("2 calls let through, 1 refused"),
        "{}",
        ran.stderr
    );
}

/// A host, over plain TCP: what is sent to it comes back.
async fn echo() -> (u16, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::<Mutex<usize>>::default();
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *counted.lock().unwrap() += 1;
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (port, count)
}

/// Speaks to the proxy of the run as no client would. It prints the answers' first lines.
const ASK: &str = r#"
import os, re, socket, sys
scheme, user, host, port = re.match(r"(\w+)://([^@]*)@([^:]*):(\d+)", os.environ["HTTPS_PROXY"]).groups()
import base64
good = base64.b64encode(user.encode()).decode()
def ask(line, credentials, then=b""):
    s = socket.create_connection((host, int(port)))
    shown = f"Proxy-Authorization: Basic {credentials}\r\n" if credentials else ""
    s.sendall(f"{line}\r\nHost: x\r\n{shown}\r\n".encode() + then)
    s.settimeout(5)
    said = b""
    try:
        while b"\r\n\r\n" not in said: 
            piece = s.recv(4096)
            if not piece: break
            said += piece
        if then:
            while not said.endswith(then): said += s.recv(4096)
    except TimeoutError: said += b" TIMEOUT"
    print(said.split(b"\r\n")[0].decode(), then.decode() if then and said.endswith(then) else "")
echo = sys.argv[1]
ask(f"CONNECT 127.0.0.1:{echo} HTTP/1.1", good, b"hello")
ask(f"CONNECT 127.0.0.1:{echo} HTTP/1.1", None)
ask(f"CONNECT api.digitalocean.com:443 HTTP/1.1", base64.b64encode(b"tidegate:wrong").decode())
ask(f"GET http://127.0.0.1:{echo}/ HTTP/1.1", good)
ask(f"CONNECT nonsense HTTP/1.1", good)
ask(f"CONNECT 127.0.0.1:1 HTTP/1.1", good)
ask(f"CONNECT API.DigitalOcean.com.:443 HTTP/1.1", good)
"#;

#[tokio::test]
async fn other_hosts_are_joined_unread_for_who_has_the_password_of_the_run() {
    let api = StandInApi::start().await;
    let (port, count) = echo().await;
    let run = Run::before(
        &api,
        &["--role", "read-only", "--intercept", "--summary", "none"],
    )
    .file("ask.py", ASK);
    let ran = run.run(&["python3", "ask.py", &port.to_string()]).await;
    assert_eq!(
        ran.stdout,
        "HTTP/1.1 200 Connection established hello\nHTTP/1.1 407 Proxy Authentication Required \nHTTP/1.1 407 Proxy Authentication Required \nHTTP/1.1 405 Method Not Allowed \nHTTP/1.1 400 Bad Request \nHTTP/1.1 502 Bad Gateway \nHTTP/1.1 200 Connection established \n",
        "{}",
        ran.stderr
    );
    assert_eq!(*count.lock().unwrap(), 1);
}

/// A proxy that notes what it is asked for, and joins.
async fn proxy() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let noted = heads.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = noted.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await.unwrap() > 0
                {
                }
                let target = head.split(' ').nth(1).unwrap().to_owned();
                noted.lock().unwrap().push(head);
                let mut other = TcpStream::connect(target).await.unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\n")
                    .await
                    .unwrap();
                let _ = copy_bidirectional(&mut stream, &mut other).await;
            });
        }
    });
    (port, heads)
}

#[tokio::test]
async fn other_hosts_are_reached_by_the_callers_own_proxy_but_those_that_go_past_it() {
    let api = StandInApi::start().await;
    let (port, count) = echo().await;
    let (proxy, heads) = proxy().await;
    for (exempt, by_proxy) in [
        ("", true),
        ("other.example.com", true),
        ("127.0.0.0/8", false),
        ("*", false),
    ] {
        heads.lock().unwrap().clear();
        *count.lock().unwrap() = 0;
        let run = Run::before(
            &api,
            &["--role", "read-only", "--intercept", "--summary", "none"],
        )
        .file("ask.py", ASK)
        .env("https_proxy", format!("http://me:p%40ss@127.0.0.1:{proxy}"))
        .env("NO_PROXY", exempt);
        let ran = run
            .shell(&format!(
                "python3 ask.py {port} | head -n 1; {FIXED} -o list && echo led"
            ))
            .await;
        assert_eq!(
            ran.stdout, "HTTP/1.1 200 Connection established hello\nled\n",
            "{}",
            ran.stderr
        );
        assert_eq!(*count.lock().unwrap(), 1, "exempt {exempt:?}");
        let heads = heads.lock().unwrap();
        let asked: Vec<_> = heads
            .iter()
            .filter(|head| head.contains(&format!(":{port} ")))
            .collect();
        assert_eq!(!asked.is_empty(), by_proxy, "exempt {exempt:?}: {heads:?}");
        for head in asked {
            assert!(
                head.contains("Proxy-Authorization: Basic bWU6cEBzcw==\r\n"),
                "{head}"
            );
        }
        assert!(
            !heads.iter().any(|head| head.contains("digitalocean")),
            "{heads:?}"
        );
    }
    let run = Run::before(&api, &["--role", "read-only", "--intercept"])
        .env("ALL_PROXY", "socks5://127.0.0.1:1");
    let ran = run.run(&["echo", "ran"]).await;
    assert_eq!((ran.status, &*ran.stdout), (Some(1), ""));
    assert!(
        ran.stderr
            .contains("can't be gone through with `--intercept`"),
        "{}",
        ran.stderr
    );
}

/// Only `exec` does this: what comes to the gate itself to be joined to another host is refused.
#[tokio::test]
async fn the_gate_itself_joins_nobody() {
    let api = StandInApi::start().await;
    let script = r#"exec 3<>/dev/tcp/${DIGITALOCEAN_API_URL#http://}
        printf 'CONNECT api.digitalocean.com:443 HTTP/1.1\r\nHost: api.digitalocean.com:443\r\nAuthorization: Bearer %s\r\n\r\n' "$DO_TOKEN" >&3; head -n 1 <&3"#;
    let script = script.replace(
        "${DIGITALOCEAN_API_URL#http://}",
        "127.0.0.1/${DIGITALOCEAN_API_URL##*:}",
    );
    let run = Run::before(&api, &["--role", "read-only"]);
    let ran = run.run(&["bash", "-c", &script]).await;
    assert!(
        ran.stdout.starts_with("HTTP/1.1 40"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(api.heard().len(), 0);
}
