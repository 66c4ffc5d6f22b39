//! S15: from a broad token to the least role: run the job once, get the role that it needs.

use std::fs;

use super::{LIST, Run};
use crate::support::less::each_scope_less;
use crate::support::{REAL_TOKEN, StandInApi, World};

/// What a job does: it looks, writes and deletes a record, restarts a Droplet and logs in to a cluster.
pub const JOB: &str = r#"#!/bin/sh
set -e
ask() { curl -sf -o answer -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" -H 'content-type: application/json' -X "$1" "$DIGITALOCEAN_API_URL$2" ${3:+-d "$3"}; }
ask GET /v2/droplets/12
ask POST /v2/droplets/12/actions '{"type":"reboot"}'
ask POST /v2/domains/example.com/records '{"type":"TXT","name":"_acme-challenge","data":"x"}'
ask DELETE "/v2/domains/example.com/records/$(grep -o '"id":[0-9]*' answer | cut -d: -f2)"
"#;

/// What Terraform's provider sends for a plan with data sources, an apply of a tag, a record, a volume and a Droplet that it is
/// attached to, and the destruction of all that; it stops where Terraform would.
const TERRAFORM: &str = r#"#!/bin/sh
set -e
api() {
    method=$1; path=$2; shift 2
    curl -s -o answer -w '%{http_code}' -A 'Terraform/1.0.3 godo/1.202.0' -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" \
        -H 'content-type: application/json' -X "$method" "$@" "$DIGITALOCEAN_API_URL$path"
}
ask() { status=$(api "$@"); case $status in 2*) ;; *) echo "$1 $2: $status $(cat answer)" >&2; exit 1 ;; esac; }
made() { grep -o '"id":"\{0,1\}[0-9a-f-]*' answer | head -1 | sed 's/.*[:"]//'; }
gone() { for try in 1 2 3; do [ "$(api GET "$1")" = 404 ] && return; done; echo "$1 is still there" >&2; exit 1; }
act() { ask POST "/v2/volumes/$volume/actions" -d "{\"type\":\"$1\",\"droplet_id\":$droplet}"; ask GET "/v2/actions/$(made)"; }

ask GET /v2/account
ask GET '/v2/account/keys?page=1&per_page=200'
ask GET '/v2/droplets?page=1&per_page=200'

ask POST /v2/tags -d '{"name":"tf"}'
ask GET /v2/tags/tf
ask POST /v2/domains/example.com/records -d '{"type":"A","name":"w","data":"192.0.2.9","ttl":30}'; record=$(made)
ask GET "/v2/domains/example.com/records/$record"
ask POST /v2/volumes -d '{"region":"nyc3","name":"tf-data","size_gigabytes":10,"tags":["tf"]}'; volume=$(made)
ask GET "/v2/volumes/$volume"
ask POST /v2/droplets -d '{"name":"tf-web","region":"nyc3","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64","ssh_keys":null,"tags":["tf"]}'; droplet=$(made)
ask GET "/v2/droplets/$droplet"
act attach

ask GET "/v2/droplets/$droplet"; ask GET "/v2/volumes/$volume"; ask GET /v2/tags/tf
act detach
ask DELETE "/v2/domains/example.com/records/$record"
ask DELETE "/v2/droplets/$droplet"; gone "/v2/droplets/$droplet"
ask DELETE "/v2/volumes/$volume"
ask DELETE /v2/tags/tf
"#;

/// Runs a script with these options, in a directory that has this policy.
async fn job(
    api: &StandInApi,
    (script, options): (&str, &[&str]),
    policy: &str,
    out: Option<&std::path::Path>,
) -> super::Ran {
    let mut run = Run::before(api, options)
        .file("job.sh", script)
        .file("role.yaml", policy);
    if let Some(out) = out {
        run = run.options(&["--out".as_ref(), out.as_os_str()]);
    }
    run.run(&["sh", "job.sh"]).await
}

#[tokio::test]
async fn s15_the_role_that_was_learned_is_enough_and_nothing_of_it_is_too_much() {
    let api = StandInApi::start().await;
    let place = tempfile::TempDir::new().unwrap();
    let out = place.path().join("role.yaml");
    let ran = job(&api, (JOB, &["--learn"]), "", Some(&out)).await;
    assert_eq!((ran.status, &*ran.stdout), (Some(0), ""), "{}", ran.stderr);
    assert!(
        ran.stderr.starts_with(
            "tidegate exec: everything that the real token may is let through, logins too"
        ),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("4 calls let through, 0 refused"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("4 of 4 requests allowed"),
        "{}",
        ran.stderr
    );
    assert!(
        api.heard()
            .iter()
            .all(|heard| heard.bearer() == Some(REAL_TOKEN))
    );
    let role = fs::read_to_string(&out).unwrap();
    let with = ["--policy", "role.yaml", "--role", "learned"];
    let ran = job(&api, (JOB, &with), &role, None).await;
    assert_eq!(ran.status, Some(0), "{}\n{role}", ran.stderr);
    fails_with_each_scope_less((JOB, &with), &role, 3).await;
}

/// A learned role has so many scopes at least, and none too many: without any of them its job fails.
async fn fails_with_each_scope_less(which: (&str, &[&str]), role: &str, least: usize) {
    let less = each_scope_less(role);
    assert!(less.len() >= least, "{role}");
    for (scope, policy) in less {
        let api = StandInApi::start().await;
        let ran = job(&api, which, &policy, None).await;
        assert_ne!(
            ran.status,
            Some(0),
            "without {scope}: {}\n{policy}",
            ran.stderr
        );
    }
}

/// Terraform as it was recorded. What it makes has other ids each time, and the role that was learned from one run is enough for
/// the next.
#[tokio::test]
async fn s15_the_role_that_terraform_needs_is_learned_from_plan_apply_and_destroy() {
    let place = tempfile::TempDir::new().unwrap();
    let out = place.path().join("role.yaml");
    let api = StandInApi::start().await;
    let ran = job(&api, (TERRAFORM, &["--learn"]), "", Some(&out)).await;
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let role = fs::read_to_string(&out).unwrap();
    let with = ["--policy", "role.yaml", "--role", "learned"];
    let terraform = (TERRAFORM, &with[..]);
    let ran = job(&api, terraform, &role, None).await; // where the first has been: other ids
    assert_eq!(ran.status, Some(0), "{}\n{role}", ran.stderr);
    for made in ["droplets", "volumes"] {
        let left = api.world(|world| world.names(made));
        assert!(!left.iter().any(|name| name.starts_with("tf-")), "{left:?}");
    }
    fails_with_each_scope_less(terraform, &role, 12).await;
}

#[tokio::test]
async fn what_a_role_lacks_is_learned_beside_it() {
    let api = StandInApi::start().await;
    let ran = job(&api, (JOB, &["--learn", "--role", "read-only"]), "", None).await;
    assert_eq!((ran.status, &*ran.stdout), (Some(0), ""), "{}", ran.stderr);
    let (_, yaml) = ran.stderr.split_once("version: 1").unwrap();
    assert!(
        yaml.contains("droplet:update") && yaml.contains("domain:update"),
        "{}",
        ran.stderr
    );
    assert!(
        !yaml.contains("droplet:read,") && !yaml.contains("[droplet:read]"),
        "read-only has it: {}",
        ran.stderr
    );
}

/// Where nothing is let through there is no role; and what makes no sense is told before anything runs.
#[tokio::test]
async fn there_is_no_role_of_nothing() {
    let api = StandInApi::start().await;
    let ran = Run::before(&api, &["--learn"])
        .run(&["sh", "-c", "exit 3"])
        .await;
    assert_eq!(ran.status, Some(3));
    assert!(
        ran.stderr.contains("no role was learned: "),
        "{}",
        ran.stderr
    );
    for options in [
        &["--learn", "--role", "read-only", "--role", "acme-dns"][..],
        &["--out", "x", "--role", "read-only"],
    ] {
        let ran = Run::before(&api, options).shell(LIST).await;
        assert_eq!((ran.status, &*ran.stdout), (Some(2), ""), "{}", ran.stderr);
    }
}

/// What hands out what logs in goes while it is learned, and the role then names it.
#[tokio::test]
async fn a_login_is_learned_by_name() {
    let api = StandInApi::start().await;
    let script = r#"curl -sf -o answer -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/registry/docker-credentials""#;
    let ran = Run::before(&api, &["--learn"]).shell(script).await;
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let (_, yaml) = ran.stderr.split_once("version: 1").unwrap();
    assert!(
        yaml.contains("registry:read") || yaml.contains("registry:"),
        "{yaml}"
    );
    assert!(!yaml.contains('*'), "no wildcard: {yaml}");
}

/// What more things than a few have in common the API tells when all is over, and the role goes by that.
#[tokio::test]
async fn what_many_things_have_in_common_is_looked_up_for_the_role() {
    let world = (41..=44).fold(World::default(), |world, id| {
        world.with_droplet(id, &format!("n{id}"), &["shop"])
    });
    let api = StandInApi::start_with(world.with_droplet(99, "other", &["other"])).await;
    let script = r#"for id in 41 42 43 44; do
        curl -sf -o answer -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/droplets/$id" || exit 1
    done"#;
    let ran = Run::before(&api, &["--learn"]).shell(script).await;
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(r#"only: { droplet: { tag: "shop" } }"#),
        "{}",
        ran.stderr
    );
    let looks = api.heard().len() - 4;
    assert!(
        (1..=5).contains(&looks),
        "each is looked up once at most: {looks}"
    );
}

/// Who looks at whatever there is and destroys one thing may destroy that one.
#[tokio::test]
async fn a_role_that_reads_everything_changes_no_more_than_was_changed() {
    let world = (41..=44).fold(World::default(), |world, id| {
        world.with_droplet(id, &format!("{id}-n"), &[&format!("tag{id}")])
    });
    let api = StandInApi::start_with(world).await;
    let script = r#"ask() { curl -sf -o answer -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$@" || exit 1; }
        for id in 41 42 43 44; do ask "$DIGITALOCEAN_API_URL/v2/droplets/$id"; done
        ask -X DELETE "$DIGITALOCEAN_API_URL/v2/droplets/43""#;
    let ran = Run::before(&api, &["--learn"]).shell(script).await;
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    for part in [
        "- scopes: [droplet:delete]\n        only: { droplet: { id: [\"43\"] } }\n",
        "- scopes: [droplet:read]\n",
        "5 of 5 requests allowed",
    ] {
        assert!(ran.stderr.contains(part), "{part} in\n{}", ran.stderr);
    }
}
