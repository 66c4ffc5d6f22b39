//! `explain`: what the daemon would say to a request.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use super::{Failed, Outcome, print, values};
use crate::operate::{Asker, ExplainGround, ExplainedRequest, Explanation};
use crate::token::Source;

#[derive(Args)]
#[command(
    group(ArgGroup::new("who").required(true).args(["token", "roles"])),
    after_help = "Example:\n  tidegate explain DELETE /v2/droplets/12 --role reader\n\nExit status: 0 allowed, 1 refused, 2 could not tell (an unknown role or token; no body where one decides)."
)]
/// The arguments of `explain`.
pub struct Arguments {
    /// The method.
    #[arg(add = values::methods())]
    method: String,
    /// The path, with its query if it has one.
    #[arg(add = values::paths())]
    path: String,
    /// The sub-token that asks, by name or id.
    #[arg(long, value_name = "NAME", add = values::tokens())]
    token: Option<String>,
    /// A role that asks; repeatable.
    #[arg(long = "role", value_name = "ROLE", add = values::roles())]
    roles: Vec<String>,
    /// A variable of the roles, as `client=a`; repeatable.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = crate::operate::variable, requires = "roles", add = values::variables())]
    vars: Vec<(String, String)>,
    /// Where the request would come from; without it, that is not judged. What a token asks of client certificates never is.
    #[arg(long, value_name = "IP")]
    from: Option<Source>,
    /// The body, a file with JSON; where it decides and is not given, it can't be told.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// What there is, as `given` in the policy's tests has it; without it, the API is asked.
    #[arg(long, value_name = "FILE")]
    resource: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// What is asked, with what stands in the files that are named.
    ///
    /// # Errors
    /// The file that can't be read.
    pub fn question(&self) -> Result<ExplainedRequest, Failed> {
        let body = self.body.as_ref().map(|path| {
            let file = path.display();
            fs::read(path).map_err(|error| {
                Failed::because(format!("the body `{file}` can't be read: {error}"))
            })
        });
        let given = self.resource.as_ref().map(|path| {
            let file = path.display().to_string();
            let text = fs::read_to_string(path);
            let text =
                text.map_err(|error| Failed::because(format!("`{file}` can't be read: {error}")));
            text.map(|text| (file, text))
        });
        Ok(ExplainedRequest {
            method: self.method.clone(),
            path: self.path.clone(),
            asker: match &self.token {
                Some(token) => Asker::Token(token.clone()),
                None => Asker::Roles(self.roles.clone(), self.vars.clone()),
            },
            from: self.from,
            body: body.transpose()?,
            given: given.transpose()?,
        })
    }
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    let told =
        ExplainGround::read(config).and_then(|ground| ground.whole_verdict(&arguments.question()?));
    match told {
        Ok(verdict) => {
            tell(&verdict, arguments.json)?;
            Ok(if verdict.decided.is_ok() {
                Outcome::Good
            } else {
                Outcome::Bad
            })
        }
        Err(Failed(lines)) => {
            lines.iter().for_each(super::say);
            Ok(Outcome::Unknown)
        }
    }
}

fn tell(verdict: &Explanation, as_json: bool) -> Result<(), Failed> {
    if as_json {
        return print(verdict.as_json());
    }
    match &verdict.decided {
        Ok(place) => {
            print(format!("allow {place}"))?;
            let would = verdict.would.as_ref();
            would.map_or(Ok(()), |refusal| {
                print(format!(
                    "only its ceiling allows it, until that ends; its roles alone would deny it: {refusal}"
                ))
            })
        }
        Err(refusal) => {
            print(format!("deny {}", refusal.code))?;
            print(&refusal.message)?;
            if let Some(detail) = &refusal.detail {
                print(format!("why: {detail}"))?;
            }
            match &verdict.suggestion {
                Some(yaml) => print(format!("\nthis in a role would allow it:\n\n{yaml}")),
                None => Ok(()),
            }
        }
    }
}
