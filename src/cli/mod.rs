//! The commands, a file each. What they print on standard output is for programs and pipes; what they say beside goes to
//! standard error.

mod audit;
mod catalog;
mod catalog_diff;
mod cert;
mod check;
mod columns;
mod completions;
mod diff;
mod exec;
pub mod explain;
mod extra;
mod health;
mod init;
mod kinds;
mod log;
mod man;
mod reference;
mod revoke;
mod rows;
mod schema;
mod search;
mod serve;
mod state;
mod suggest;
mod template;
mod token;
mod unused;
mod values;
mod weaken;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::CompleteEnv;

use crate::config;
use crate::operate::Failed;
use crate::secret::{process, redacted};

/// A gate before the DigitalOcean API: sub-tokens that can do only what their policy says.
#[derive(Parser)]
#[command(
    name = "tidegate",
    version,
    about,
    arg_required_else_help = true,
    after_help = "Example:\n  tidegate exec --role read-only -- doctl compute droplet list\n  tidegate init && tidegate serve --config tidegate.yaml\n\n`tidegate help policy` and `tidegate help config` print the reference of the two files."
)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_CONFIG", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a configuration, a policy and a file for the real token, to begin with.
    Init(init::Arguments),
    /// Run the daemon until SIGTERM or SIGINT; SIGHUP, or a change of a file, reloads.
    Serve(serve::Arguments),
    /// Run a command with a sub-token in place of the real one, before a gate of its own that ends with it.
    Exec(exec::Arguments),
    /// Read configuration, policy and state, say what is wrong with them, and run the policy's tests.
    Check(check::Arguments),
    /// Ask the running daemon how it is: exit 0 if it is well, else 1.
    Health(health::Arguments),
    /// Create, list, show, revoke and rotate sub-tokens.
    #[command(
        subcommand,
        after_help = "Example:\n  tidegate token issue ci --role acme-dns --expires 30d && tidegate token list"
    )]
    Token(token::Command),
    /// Look after the store of the state.
    #[command(subcommand, after_help = "Example:\n  tidegate state migrate")]
    State(state::Command),
    /// Say whether a request would be allowed, and which grant or which missing thing decides; nothing is sent.
    Explain(explain::Arguments),
    /// From the record, print the least role that still lets through what was let through, with tests.
    Suggest(suggest::Arguments),
    /// Say what is granted and was not needed: tokens, roles, grants, scopes and wildcards.
    Unused(unused::Arguments),
    /// Compare two policies: every operation that a change newly allows or refuses.
    Diff(diff::Arguments),
    /// Print a JSON Schema of the policy or the configuration, for editors and CI.
    Schema(schema::Arguments),
    /// List and print ready roles with their tests.
    #[command(
        subcommand,
        after_help = "Example:\n  tidegate template list && tidegate template show acme-dns --var domain=example.com"
    )]
    Template(template::Command),
    /// Search and check the record.
    #[command(
        subcommand,
        after_help = "Example:\n  tidegate audit search --token ci --since 7d --refused"
    )]
    Audit(audit::Command),
    /// Show what tidegate knows of the API.
    #[command(
        subcommand,
        after_help = "Example:\n  tidegate catalog endpoints /v2/domains"
    )]
    Catalog(catalog::Command),
    /// Make a private authority and a listener's certificate, and say how clients trust them.
    Cert(cert::Arguments),
    /// Print what makes a shell complete the commands of tidegate.
    Completions(completions::Arguments),
    /// Write the man pages, one for each command.
    Man(man::Arguments),
}

/// What a command came to, beside what it printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All is well.
    Good,
    /// What was asked about is not well: exit 1.
    Bad,
    /// It could not be told: exit 2.
    Unknown,
    /// What a command that it ran came to.
    Code(u8),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::because(format!("the output can't be written: {error}"))
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    CompleteEnv::with_factory(Arguments::command)
        .var(values::VARIABLE)
        .complete();
    let told: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some(printed) = reference::asked(&told) {
        return printed.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let Arguments { config, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misread(&error),
    };
    if let Err(open) = process::shut() {
        say(open);
        return ExitCode::FAILURE;
    }
    let outcome = match command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Serve(arguments) => serve::run(&config, &arguments),
        Command::Exec(arguments) => exec::run(&config, &arguments),
        Command::Check(arguments) => check::run(&config, &arguments),
        Command::Health(arguments) => health::run(&config, &arguments),
        Command::Token(command) => token::run(&config, command),
        Command::State(command) => state::run(&config, &command),
        Command::Explain(arguments) => explain::run(&config, &arguments),
        Command::Suggest(arguments) => suggest::run(&config, &arguments),
        Command::Unused(arguments) => unused::run(&config, &arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Template(command) => template::run(&command),
        Command::Audit(command) => audit::run(&config, &command),
        Command::Catalog(command) => catalog::run(&command),
        Command::Cert(arguments) => cert::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::FAILURE,
        Ok(Outcome::Unknown) => ExitCode::from(2),
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Err(Failed(lines)) => {
            lines.iter().map(|line| redacted(line)).for_each(say);
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the arguments, or prints the help that they ask for. A token that was put in the wrong place is not said
/// again, and what a terminal would obey is shown instead.
fn misread(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print(); // help, and the version
        return ExitCode::SUCCESS;
    }
    let text = redacted(&error.render().to_string());
    let visible = |letter: char| {
        let obeyed = letter.is_control() && letter != '\n';
        if obeyed {
            letter.escape_unicode().to_string()
        } else {
            letter.to_string()
        }
    };
    say(text.trim_end().chars().map(visible).collect::<String>());
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Says a line on standard error. If nobody can hear it, that is no reason to fail.
fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints a line on standard output.
fn print(line: impl fmt::Display) -> Result<(), Failed> {
    match writeln!(io::stdout().lock(), "{line}") {
        // `tidegate token list | head -1` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// `1 role`, `2 roles`.
fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// Prints columns, each as wide as its widest cell.
fn print_table(rows: &[Vec<String>]) -> Result<(), Failed> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        print(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
