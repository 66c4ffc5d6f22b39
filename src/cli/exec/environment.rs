//! The environment of a command: the sub-token and the gate's address in every variable that clients read, and nothing of a real
//! token.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use memchr::memmem::find;
use zeroize::Zeroizing;

/// A variable of an environment: its name and its value.
pub(super) type Variable = (OsString, OsString);

/// What clients read: a variable, what it gets, and whose it is.
const TABLE: &str = include_str!("environment.tsv");

/// What a variable gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gets {
    /// The sub-token.
    Token,
    /// The same, where the caller has it.
    TokenIfSet,
    /// The gate's base URL.
    Url,
    /// The same with `/v2/` behind it.
    UrlOfV2,
    /// The name of an empty file.
    EmptyFile,
    /// The word `default`.
    Default,
    /// It is taken out.
    Nothing,
}

impl Gets {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "token" => Self::Token,
            "token if set" => Self::TokenIfSet,
            "url" => Self::Url,
            "url/v2/" => Self::UrlOfV2,
            "empty file" => Self::EmptyFile,
            "default" => Self::Default,
            "nothing" => Self::Nothing,
            _ => return None,
        })
    }
}

fn table() -> impl Iterator<Item = (&'static str, Gets)> {
    TABLE.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        Some((columns.next()?, Gets::read(columns.next()?)?))
    })
}

/// What a real token looks like wherever it stands: its secret part, as it is and in base64, as logins of registries have it.
#[derive(Default)]
pub(super) struct Traces(Vec<Zeroizing<Vec<u8>>>);

impl Traces {
    /// Learns those of a token.
    pub fn learn(&mut self, token: &str) {
        let bare = token.rsplit_once("_v1_").map_or(token, |(_, bare)| bare);
        let traces = &mut self.0;
        traces.push(Zeroizing::new(bare.as_bytes().to_vec()));
        // In base64 it depends on how many bytes stand before it; what its neighbours have a part in is left out.
        for before in 0..3 {
            let mut padded = Zeroizing::new(vec![b'a'; before]);
            padded.extend_from_slice(bare.as_bytes());
            let whole = padded.len() / 3 * 3;
            let padded = padded.get(..whole).unwrap_or_default();
            let skipped = if before == 0 { 0 } else { 4 };
            for engine in [STANDARD, URL_SAFE] {
                let text = Zeroizing::new(engine.encode(padded));
                let own = text.as_bytes().get(skipped..).unwrap_or_default();
                traces.push(Zeroizing::new(own.to_vec()));
            }
        }
    }

    /// Whether one of them is in a text.
    pub fn are_in(&self, text: &OsStr) -> bool {
        let text = text.as_bytes();
        self.0.iter().any(|trace| find(text, trace).is_some())
    }
}

/// What a command is given.
pub(super) struct GivenToCommand<'g> {
    /// The sub-token.
    pub token: &'g str,
    /// The gate's base URL.
    pub url: &'g str,
    /// A file that is empty and for this run alone.
    pub empty_file: &'g Path,
    /// Variables of this run that no table has, by name.
    pub more: Vec<(String, OsString)>,
    /// Variables that the configuration reads real tokens from.
    pub forbidden: Vec<String>,
}

/// A command's environment.
#[derive(Default)]
pub(super) struct Environment {
    /// All of it.
    pub variables: Vec<(OsString, OsString)>,
    /// Names of what was taken out, as it held a real token.
    pub taken_out: Vec<String>,
    /// Names of what holds another DigitalOcean token, which stays.
    pub others: Vec<String>,
}

impl Environment {
    /// What becomes of the caller's own.
    pub fn of(
        own: impl IntoIterator<Item = (OsString, OsString)>,
        given: GivenToCommand<'_>,
        traces: &Traces,
    ) -> Self {
        let GivenToCommand {
            token,
            url,
            empty_file,
            more,
            forbidden,
        } = given;
        let mut all = Self::default();
        let mut was_set = Vec::new();
        for (name, value) in own {
            let text = name.to_string_lossy().into_owned();
            let is_ours = more.iter().any(|(ours, _)| *ours == text);
            if table().any(|(known, _)| known == text) {
                was_set.push(text);
            } else if is_ours {
                // it gets another value below
            } else if traces.are_in(&value) || forbidden.contains(&text) {
                all.taken_out.push(text);
            } else {
                if holds_real_token(&value) {
                    all.others.push(text);
                }
                all.variables.push((name, value));
            }
        }
        for (name, gets) in table() {
            let value = match gets {
                Gets::TokenIfSet if !was_set.iter().any(|set| set == name) => continue,
                Gets::Token | Gets::TokenIfSet => token.into(),
                Gets::Url => url.into(),
                Gets::UrlOfV2 => format!("{url}/v2/").into(),
                Gets::EmptyFile => empty_file.as_os_str().to_owned(),
                Gets::Default => "default".into(),
                Gets::Nothing => continue,
            };
            all.variables.push((name.into(), value));
        }
        let more = more.into_iter().map(|(name, value)| (name.into(), value));
        all.variables.extend(more);
        all
    }
}

/// Whether something in a text begins as DigitalOcean's tokens do.
fn holds_real_token(text: &OsStr) -> bool {
    let text = text.as_bytes();
    let mut rest = text;
    while let Some(at) = find(rest, b"_v1_") {
        let (head, after) = rest.split_at(at);
        let prefix = head.get(head.len().saturating_sub(3)..);
        let secret = after.get(4..).unwrap_or_default();
        let digits = secret.iter().take_while(|byte| byte.is_ascii_hexdigit());
        if prefix.is_some_and(|prefix| prefix.starts_with(b"do")) && digits.count() >= 32 {
            return true;
        }
        rest = secret;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = "dop_v1_f00df00df00df00df00df00df00df00df00df00df00df00df00df00df00df00d";
    const OTHER: &str = "doo_v1_badbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbad0";

    fn of(own: &[(&str, &str)]) -> Environment {
        let mut traces = Traces::default();
        traces.learn(REAL);
        let own = own
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let given = GivenToCommand {
            token: "tdg_v1_sub",
            url: "http://127.0.0.1:1",
            empty_file: Path::new("/run/empty"),
            more: vec![("NO_PROXY".to_owned(), "127.0.0.1".into())],
            forbidden: vec!["PROD".to_owned()],
        };
        Environment::of(own, given, &traces)
    }

    fn value<'e>(environment: &'e Environment, name: &str) -> Option<&'e str> {
        let mut found = environment
            .variables
            .iter()
            .filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.to_str().unwrap());
        assert!(found.next().is_none(), "{name} stands there twice");
        value
    }

    #[test]
    fn every_row_of_the_table_reads_and_stands_there_once() {
        let names: Vec<_> = table().map(|(name, _)| name).collect();
        assert_eq!(names.len(), TABLE.lines().count());
        for line in TABLE.lines() {
            assert_eq!(line.split('\t').count(), 3, "row {line:?}");
        }
        let once: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(once.len(), names.len());
    }

    #[test]
    fn what_clients_read_gets_the_sub_token_and_the_gate() {
        let environment = of(&[
            ("DIGITALOCEAN_TOKEN", OTHER),
            ("DO_API_KEY", OTHER),
            ("HOME", "/home/a"),
        ]);
        let cases = [
            ("DIGITALOCEAN_ACCESS_TOKEN", Some("tdg_v1_sub")),
            ("DIGITALOCEAN_TOKEN", Some("tdg_v1_sub")), // another token in a variable that clients read
            ("DO_AUTH_TOKEN", Some("tdg_v1_sub")),
            ("DIGITALOCEAN_API_URL", Some("http://127.0.0.1:1")),
            ("DIGITALOCEAN_END_POINT", Some("http://127.0.0.1:1/v2/")),
            ("DIGITALOCEAN_CONFIG", Some("/run/empty")),
            ("DIGITALOCEAN_CONTEXT", Some("default")),
            ("DO_API_KEY", None),  // acme.sh would save it
            ("OAUTH_TOKEN", None), // a general name, and it was not set
            ("NO_PROXY", Some("127.0.0.1")),
            ("HOME", Some("/home/a")),
        ];
        for (name, expected) in cases {
            assert_eq!(value(&environment, name), expected, "{name}");
        }
        assert_eq!(
            value(&of(&[("OAUTH_TOKEN", "x")]), "OAUTH_TOKEN"),
            Some("tdg_v1_sub")
        );
    }

    #[test]
    fn whatever_holds_the_real_token_is_taken_out() {
        let bare = REAL.strip_prefix("dop_v1_").unwrap();
        let mut cases = vec![
            ("TF_VAR_do_token", REAL.to_owned()),
            ("BARE", bare.to_owned()),
            ("CONTEXTS", format!("{{\"prod\":\"{REAL}\"}}")),
            ("PROD", "whatever it is".to_owned()),
        ];
        for before in ["", "a", "ab", "abc", "token:"] {
            cases.push(("LOGIN", STANDARD.encode(format!("{before}{REAL}"))));
            cases.push(("LOGIN", STANDARD.encode(format!("{before}{REAL}:{REAL}\n"))));
            cases.push(("LOGIN", URL_SAFE.encode(format!("{before}{bare}"))));
        }
        for (name, text) in cases {
            let environment = of(&[(name, &text)]);
            assert_eq!(environment.taken_out, [name], "value {text}");
            assert_eq!(value(&environment, name), None);
        }
        let environment = of(&[("MINE", OTHER), ("HASH", "f00d")]);
        assert_eq!(environment.taken_out, [""; 0]);
        assert_eq!(environment.others, ["MINE"]);
        assert_eq!(value(&environment, "MINE"), Some(OTHER));
    }
}
