use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::load::settings;
use crate::config::{KeySource, Listen, Settings, TlsFiles, TokenSource};

/// The files that rules are read from, as they were at a moment.
///
/// They are looked at, not listened to. inotify tells nothing on network and some overlay file systems, must follow every
/// link on the way to a file, and loses what happens between two of its watches; a handful of `stat` calls a second costs
/// nothing and can't miss. A path is resolved anew each time, so that a link swapped anywhere on the way counts, as where
/// Kubernetes swaps `..data`. The time of the inode's last change is held against too: it can't be set back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WatchedFiles(BTreeMap<PathBuf, Result<Looks, io::ErrorKind>>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Looks {
    resolved: PathBuf,
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl WatchedFiles {
    /// The configuration file and all that it names, now. What the rules in force name counts too: while a new
    /// configuration is wrong, mending either must be seen.
    pub fn of(config: &Path, in_force: Option<&Settings>) -> Self {
        let on_disk = settings(config).ok();
        let named = in_force.into_iter().chain(&on_disk).flat_map(files);
        let all = std::iter::once(config).chain(named);
        Self(
            all.map(|path| (path.to_owned(), look(path)))
                .collect::<BTreeMap<_, _>>(),
        )
    }

    /// The same files, looked at anew.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(
            self.0
                .keys()
                .map(|path| (path.clone(), look(path)))
                .collect::<BTreeMap<_, _>>(),
        )
    }
}

fn look(path: &Path) -> Result<Looks, io::ErrorKind> {
    let looks = || {
        let resolved = fs::canonicalize(path)?;
        let found = fs::metadata(&resolved)?;
        Ok(Looks {
            resolved,
            file: (found.dev(), found.ino()),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    };
    looks().map_err(|error: io::Error| error.kind())
}

/// Every file that is read when the rules are. State and audit are written, and are no rules.
fn files(settings: &Settings) -> Vec<&Path> {
    let Settings {
        listen,
        public_url: _,
        trusted_proxies: _,
        upstream,
        accounts,
        policy,
        state: _,
        instance: _,
        audit: _,
        admin,
        extra_catalog,
        field_scopes: _,
        issuers,
        limits: _,
        places: _,
        console: _,
    } = settings;
    let tokens = accounts.values().flat_map(|account| match &account.token {
        TokenSource::File(path) => std::slice::from_ref(path),
        TokenSource::Files(paths) => paths,
        TokenSource::Env(_) | TokenSource::Command(_) => &[],
    });
    let shown = listen.iter().chain(admin).flat_map(|listen| match listen {
        Listen::Tls(.., files) => shown(files),
        Listen::Plain(..) | Listen::Unix(_) => Vec::new(),
    });
    let of_issuers = issuers.values().flat_map(|issuer| {
        let keys = match &issuer.keys {
            KeySource::File(path) => Some(path),
            KeySource::Discovery(_) | KeySource::Url(_) => None,
        };
        keys.into_iter().chain(&issuer.ca_file)
    });
    std::iter::once(policy)
        .chain(extra_catalog)
        .chain(&upstream.ca_file)
        .chain(tokens)
        .chain(shown)
        .chain(of_issuers)
        .map(PathBuf::as_path)
        .collect()
}

fn shown(files: &TlsFiles) -> Vec<&PathBuf> {
    let TlsFiles {
        certificate,
        private_key,
        client_ca,
    } = files;
    [certificate, private_key]
        .into_iter()
        .chain(client_ca)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const CONFIG: &str = "
listen:
  - { address: 127.0.0.1:0, tls: { certificate: tls.crt, private_key: tls.key, client_ca: clients.pem } }
upstream: { ca_file: ca.pem }
accounts: { a: { token_file: a-token }, b: { token_env: B } }
policy: policy.yaml
state: tidegate.db
audit: { file: audit.jsonl }
admin: { address: 127.0.0.1:0, tls: { certificate: admin.crt, private_key: admin.key } }
catalog: { extra: extra.yaml }
issuers: { k: { url: https://k.example, audience: t, jwks: keys.json, ca_file: k-ca.pem } }
";

    type Step = fn(&Path);

    fn directory() -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let config = directory.path().join("tidegate.yaml");
        fs::write(&config, CONFIG).unwrap();
        (directory, config)
    }

    #[test]
    fn every_file_that_rules_are_read_from_is_watched_and_no_other() {
        let (directory, config) = directory();
        let seen = WatchedFiles::of(&config, None);
        let names: Vec<_> = seen
            .0
            .keys()
            .map(|path| path.strip_prefix(&directory).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "a-token",
                "admin.crt",
                "admin.key",
                "ca.pem",
                "clients.pem",
                "extra.yaml",
                "k-ca.pem",
                "keys.json",
                "policy.yaml",
                "tidegate.yaml",
                "tls.crt",
                "tls.key"
            ]
        );
    }

    #[test]
    fn what_the_old_rules_name_is_watched_while_the_new_configuration_is_wrong() {
        let (directory, config) = directory();
        let old = settings(&config).unwrap();
        fs::write(&config, "policy: [").unwrap();
        let seen = WatchedFiles::of(&config, Some(&old));
        assert!(seen.0.contains_key(&directory.path().join("policy.yaml")));
        assert!(seen.0.contains_key(&config));
    }

    #[test]
    fn a_swapped_link_on_the_way_counts_though_both_files_look_alike() {
        let (directory, config) = directory();
        let at = |name: &str| directory.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("policy.yaml"), "version: 1").unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/policy.yaml", at("policy.yaml")).unwrap();
        let seen = WatchedFiles::of(&config, None);
        assert_eq!(seen.again(), seen);
        symlink("v2", at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
        assert_ne!(seen.again(), seen);
    }

    #[test]
    fn a_file_that_comes_goes_or_is_written_counts() {
        let (directory, config) = directory();
        let policy = directory.path().join("policy.yaml");
        let mut seen = WatchedFiles::of(&config, None);
        let steps: [(&str, Step); 4] = [
            ("comes", |path| fs::write(path, "a").unwrap()),
            ("is appended to", |path| fs::write(path, "ab").unwrap()),
            ("gets another mode", |path| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }),
            ("goes", |path| fs::remove_file(path).unwrap()),
        ];
        for (what, step) in steps {
            step(&policy);
            let now = seen.again();
            assert_ne!(now, seen, "a file that {what}");
            seen = now;
        }
    }
}
