use std::io::{self, Write};

use clap::{Args, ValueEnum};
use clap_complete::env::Shells;

use super::values::VARIABLE;
use super::{Failed, Outcome};

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate completions bash > ~/.local/share/bash-completion/completions/tidegate\n\nThe shell then asks tidegate itself what may stand there, so roles, sub-tokens and scopes are completed too: those of `--config`,\nof TIDEGATE_CONFIG, or of the default configuration, as far as whoever asks may read it."
)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

impl Shell {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Elvish => "elvish",
            Self::Fish => "fish",
            Self::Powershell => "powershell",
            Self::Zsh => "zsh",
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    let name = arguments.shell.as_str();
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(name) {
        shell.write_registration(VARIABLE, "tidegate", "tidegate", "tidegate", &mut script)?;
    }
    if let Shell::Zsh = arguments.shell {
        // As a file of `fpath` it is read when it is first needed, and that TAB must not come to nothing.
        script.extend_from_slice(
            b"[ \"$funcstack[1]\" = _tidegate ] && _clap_dynamic_completer_tidegate \"$@\"\n",
        );
    }
    match io::stdout().lock().write_all(&script) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(Outcome::Good),
    }
}
