//! How the command begins and ends, and the signals on the way.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::Run;
use crate::support::StandInApi;

#[tokio::test]
async fn the_exit_status_is_the_commands() {
    let api = StandInApi::start().await;
    for (command, expected) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 42"], 42),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["no-such-command"], 127),
        (&["./none"], 127),
        (&["./file"], 126),
    ] {
        let run = Run::before(&api, &["--role", "read-only", "--summary", "none"]).file("file", "");
        let ran = run.run(command).await;
        assert_eq!(ran.status, Some(expected), "{command:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
        if expected == 127 || expected == 126 {
            let said = format!("tidegate exec: `{}` can't be run: ", command[0]);
            assert!(ran.stderr.starts_with(&said), "{}", ran.stderr);
        }
    }
}

#[tokio::test]
async fn what_the_command_reads_and_writes_is_its_own() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only", "--summary", "none"]);
    let (mut command, _place) = run.command(&["sh", "-c", "umask; cat; echo err >&2"]);
    command.stdin(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"in").unwrap();
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert_eq!(output.stderr, b"err\n");
    let said = String::from_utf8(output.stdout).unwrap();
    let (umask, rest) = said.split_once('\n').unwrap();
    let own = std::process::Command::new("sh")
        .args(["-c", "umask"])
        .output()
        .unwrap();
    assert_eq!(umask, String::from_utf8(own.stdout).unwrap().trim());
    assert_eq!(rest, "in");
}

/// A script that says when it begins, and counts the signals that it gets until it gets SIGUSR1.
const COUNTING: &str = r"n=0; trap 'n=$((n+1))' INT TERM HUP QUIT; trap 'echo $n; exit 3' USR1; echo begun; while :; do sleep 0.01; done";

#[tokio::test]
async fn what_is_sent_to_it_goes_on_to_the_command_once() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only", "--summary", "none"]);
    let (mut command, _place) = run.command(&["sh", "-c", COUNTING]);
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "begun\n");
        for signal in [
            Signal::INT,
            Signal::TERM,
            Signal::HUP,
            Signal::QUIT,
            Signal::USR1,
        ] {
            kill_process(pid, signal).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(60)); // or the shell takes two for one
        }
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        (rest, child.wait().unwrap())
    });
    let (rest, status) = ended.await.unwrap();
    assert_eq!((&*rest, status.code()), ("4\n", Some(3)));
}

#[tokio::test]
async fn one_that_does_not_heed_it_ends_by_it() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only", "--summary", "none"]);
    let (mut command, place) = run.command(&["sh", "-c", "echo begun; exec sleep 60"]);
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        child.wait().unwrap()
    });
    assert_eq!(ended.await.unwrap().code(), Some(143));
    assert_eq!(
        std::fs::read_dir(place.path().join("tmp")).unwrap().count(),
        0
    );
}

/// What comes of a command that another program runs: its words stand before the command's own.
async fn run_by(program: &[&str], command: &std::process::Command) -> std::process::Output {
    let mut outer = std::process::Command::new(program[0]);
    outer
        .args(&program[1..])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(command.get_current_dir().unwrap());
    tokio::task::spawn_blocking(move || outer.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_the_caller_ignores_stays_ignored() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only"]);
    let (command, _place) = run.command(&["sh", "-c", "grep SigIgn /proc/self/status"]);
    let ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
    let output = run_by(&ignoring, &command).await;
    let said = String::from_utf8(output.stdout).unwrap();
    let mask = said.trim().rsplit('\t').next().unwrap();
    let mask = u64::from_str_radix(mask, 16).unwrap();
    assert_eq!(mask & 1, 1, "SIGHUP is ignored: {said}");
}

/// The terminal sends Ctrl-C to all that run in its foreground, so the command gets its own, and no second one.
#[tokio::test]
async fn what_the_terminal_sends_comes_to_the_command_once() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only", "--summary", "none"])
        .file("count.sh", COUNTING)
        .file(
            "terminal.py",
            r#"
import os, pty, signal, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
said = b""
while b"begun" not in said:
    said += os.read(terminal, 1024)
os.write(terminal, b"\x03")
time.sleep(0.3)
os.kill(pid, signal.SIGUSR1)
try:
    while True:
        piece = os.read(terminal, 1024)
        if not piece: break
        said += piece
except OSError: pass
print(said.decode().split()[-1].removeprefix("^C"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#,
        );
    let (command, _place) = run.command(&["sh", "count.sh"]);
    let output = run_by(&["python3", "terminal.py"], &command).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said.trim(),
        "1 3",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn a_program_that_can_not_be_led_is_named() {
    let api = StandInApi::start().await;
    for script in ["./acme.sh", "sh acme.sh", "sh -c 'sh ./acme.sh; true'"] {
        let run = Run::before(&api, &["--role", "read-only", "--summary", "none"])
            .file("acme.sh", "#!/bin/sh\nsleep 1\n");
        let own = run.path().join("acme.sh");
        std::fs::set_permissions(own, std::fs::Permissions::from_mode(0o700)).unwrap();
        let ran = run.shell(script).await;
        assert_eq!(
            ran.stderr
                .matches("`acme.sh` goes to api.digitalocean.com")
                .count(),
            1,
            "{script}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains("give `--intercept`"), "{}", ran.stderr);
    }
}
