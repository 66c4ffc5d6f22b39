//! What kinds of things the account holds, and how the API shows them: written down for the oracle from the API's reference,
//! apart from the catalogue, so that a mistake there is not believed here.

use std::sync::LazyLock;

/// How things of a kind are called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    Number,
    Uuid,
    Name,
}

/// A kind of thing.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub family: &'static str,
    /// The list that they stand in; `{}` is the parent's id.
    pub path: &'static str,
    /// The member of an answer that holds one, and the one that holds them all; empty where the answer itself is it.
    pub one: &'static str,
    pub many: &'static str,
    /// The member that identifies one, and what it is like.
    pub id: &'static str,
    pub form: Form,
    pub parent: Option<&'static str>,
    /// What it is called in a URN; only what has one is in a project.
    pub urn: Option<&'static str>,
    /// What a policy can ask about, and where that stands.
    pub attributes: &'static [(&'static str, &'static str)],
}

use Form::{Name, Number, Uuid};

macro_rules! kinds {
    ($($name:literal $family:literal $path:literal $one:literal $many:literal $id:literal $form:ident $parent:expr, $urn:expr, [$($attribute:literal: $at:literal),*];)*) => {
        &[$(Kind { name: $name, family: $family, path: $path, one: $one, many: $many, id: $id, form: $form, parent: $parent, urn: $urn,
            attributes: &[$(($attribute, $at)),*] }),*]
    };
}

const NO: Option<&str> = None;

#[rustfmt::skip]
pub static KINDS: &[Kind] = kinds! {
    "account" "account" "/v2/-accounts" "account" "accounts" "uuid" Uuid NO, NO, ["id": "uuid"];
    "ssh_key" "ssh_key" "/v2/account/keys" "ssh_key" "ssh_keys" "id" Number NO, NO, ["id": "id", "name": "name", "fingerprint": "fingerprint"];
    "addon" "addon" "/v2/add-ons/saas" "resource" "resources" "uuid" Uuid NO, NO, ["id": "uuid", "name": "name"];
    "app" "app" "/v2/apps" "app" "apps" "id" Uuid NO, Some("app"), ["id": "id", "name": "spec.name", "region": "region.slug"];
    "app_deployment" "app" "/v2/apps/{}/deployments" "deployment" "deployments" "id" Uuid Some("app"), NO, ["id": "id"];
    "cdn_endpoint" "cdn" "/v2/cdn/endpoints" "endpoint" "endpoints" "id" Uuid NO, NO, ["id": "id", "origin": "origin", "custom_domain": "custom_domain", "certificate": "certificate_id"];
    "certificate" "certificate" "/v2/certificates" "certificate" "certificates" "id" Uuid NO, NO, ["id": "id", "name": "name", "type": "type", "dns_name": "dns_names[]"];
    "database" "database" "/v2/databases" "database" "databases" "id" Uuid NO, Some("dbaas"), ["id": "id", "name": "name", "tag": "tags[]", "region": "region", "size": "size", "engine": "engine", "vpc": "private_network_uuid"];
    "database_replica" "database" "/v2/databases/{}/replicas" "replica" "replicas" "name" Name Some("database"), NO, ["id": "id", "name": "name", "tag": "tags[]", "region": "region", "size": "size"];
    "database_user" "database" "/v2/databases/{}/users" "user" "users" "name" Name Some("database"), NO, ["id": "name", "name": "name", "role": "role"];
    "database_db" "database" "/v2/databases/{}/dbs" "db" "dbs" "name" Name Some("database"), NO, ["id": "name", "name": "name"];
    "database_pool" "database" "/v2/databases/{}/pools" "pool" "pools" "name" Name Some("database"), NO, ["id": "name", "name": "name", "database_db": "db", "database_user": "user"];
    "database_topic" "database" "/v2/databases/{}/topics" "topic" "topics" "name" Name Some("database"), NO, ["id": "name", "name": "name"];
    "database_logsink" "database" "/v2/databases/{}/logsink" "" "sinks" "sink_id" Uuid Some("database"), NO, ["id": "sink_id", "name": "sink_name", "type": "sink_type"];
    "dedicated_inference" "dedicated_inference" "/v2/dedicated-inferences" "dedicated_inference" "dedicated_inferences" "id" Uuid NO, NO, ["id": "id", "name": "spec.name", "region": "region", "vpc": "vpc_uuid"];
    "domain" "domain" "/v2/domains" "domain" "domains" "name" Name NO, Some("domain"), ["id": "name", "name": "name"];
    "domain_record" "domain" "/v2/domains/{}/records" "domain_record" "domain_records" "id" Number Some("domain"), NO, ["id": "id", "name": "name", "type": "type", "data": "data"];
    "droplet" "droplet" "/v2/droplets" "droplet" "droplets" "id" Number NO, Some("droplet"), ["id": "id", "name": "name", "tag": "tags[]", "region": "region.slug", "size": "size_slug", "image": "image.id", "vpc": "vpc_uuid"];
    "autoscale_pool" "droplet" "/v2/droplets/autoscale" "autoscale_pool" "autoscale_pools" "id" Uuid NO, NO, ["id": "id", "name": "name", "size": "droplet_template.size"];
    "firewall" "firewall" "/v2/firewalls" "firewall" "firewalls" "id" Uuid NO, NO, ["id": "id", "name": "name", "droplet": "droplet_ids[]"];
    "namespace" "function" "/v2/functions/namespaces" "namespace" "namespaces" "namespace" Name NO, NO, ["id": "namespace", "name": "label", "region": "region"];
    "function_trigger" "function" "/v2/functions/namespaces/{}/triggers" "trigger" "triggers" "name" Name Some("namespace"), NO, ["id": "name", "name": "name", "function": "function"];
    "image" "image" "/v2/images" "image" "images" "id" Number NO, NO, ["id": "id", "name": "name", "tag": "tags[]", "region": "regions[]", "type": "type"];
    "snapshot" "snapshot" "/v2/snapshots" "snapshot" "snapshots" "id" Uuid NO, NO, ["id": "id", "name": "name", "tag": "tags[]", "region": "regions[]", "source": "resource_id", "source_type": "resource_type"];
    "kubernetes_cluster" "kubernetes" "/v2/kubernetes/clusters" "kubernetes_cluster" "kubernetes_clusters" "id" Uuid NO, Some("kubernetes"), ["id": "id", "name": "name", "tag": "tags[]", "region": "region", "vpc": "vpc_uuid"];
    "node_pool" "kubernetes" "/v2/kubernetes/clusters/{}/node_pools" "node_pool" "node_pools" "id" Uuid Some("kubernetes_cluster"), NO, ["id": "id", "name": "name", "tag": "tags[]", "size": "size"];
    "load_balancer" "load_balancer" "/v2/load_balancers" "load_balancer" "load_balancers" "id" Uuid NO, Some("loadbalancer"), ["id": "id", "name": "name", "tag": "tags[]", "region": "region.slug", "vpc": "vpc_uuid", "droplet": "droplet_ids[]"];
    "alert_policy" "monitoring" "/v2/monitoring/alerts" "policy" "policies" "uuid" Uuid NO, NO, ["id": "uuid", "type": "type", "entity": "entities[]"];
    "monitoring_destination" "monitoring" "/v2/monitoring/sinks/destinations" "destination" "destinations" "id" Uuid NO, NO, ["id": "id", "name": "name"];
    "nfs_share" "nfs" "/v2/nfs" "share" "shares" "id" Uuid NO, NO, ["id": "id", "name": "name", "region": "region", "vpc": "vpc_ids[]"];
    "partner_attachment" "partner_network_connect" "/v2/partner_network_connect/attachments" "partner_attachment" "partner_attachments" "id" Uuid NO, NO, ["id": "id", "name": "name", "region": "region", "vpc": "vpc_ids[]"];
    "project" "project" "/v2/projects" "project" "projects" "id" Uuid NO, NO, ["id": "id", "name": "name", "purpose": "purpose", "environment": "environment", "default": "is_default"];
    "registry" "registry" "/v2/registries" "registry" "registries" "name" Name NO, NO, ["id": "name", "name": "name", "region": "region"];
    "repository" "registry" "/v2/registries/{}/repositoriesV2" "" "repositories" "name" Name Some("registry"), NO, ["id": "name", "name": "name"];
    "reserved_ip" "reserved_ip" "/v2/reserved_ips" "reserved_ip" "reserved_ips" "ip" Name NO, Some("reservedip"), ["id": "ip", "ip": "ip", "region": "region.slug", "droplet": "droplet.id"];
    "reserved_ipv6" "reserved_ip" "/v2/reserved_ipv6" "reserved_ipv6" "reserved_ipv6s" "ip" Name NO, NO, ["id": "ip", "ip": "ip", "region": "region_slug", "droplet": "droplet.id"];
    "spaces_key" "spaces_key" "/v2/spaces/keys" "key" "keys" "access_key" Name NO, NO, ["id": "access_key", "name": "name", "bucket": "grants[].bucket"];
    "tag" "tag" "/v2/tags" "tag" "tags" "name" Name NO, NO, ["id": "name", "name": "name"];
    "vector_database" "database" "/v2/vector-databases" "vector_db" "vector_dbs" "id" Uuid NO, NO, ["id": "id", "name": "name", "tag": "tags[]", "region": "region", "size": "size"];
    "volume" "block_storage" "/v2/volumes" "volume" "volumes" "id" Uuid NO, Some("volume"), ["id": "id", "name": "name", "tag": "tags[]", "region": "region.slug", "size": "size_gigabytes", "droplet": "droplet_ids[]"];
    "vpc" "vpc" "/v2/vpcs" "vpc" "vpcs" "id" Uuid NO, Some("vpc"), ["id": "id", "name": "name", "region": "region", "default": "default"];
    "vpc_peering" "vpc_peering" "/v2/vpc_peerings" "vpc_peering" "vpc_peerings" "id" Uuid NO, NO, ["id": "id", "name": "name", "vpc": "vpc_ids[]"];
    "nat_gateway" "nat_gateway" "/v2/vpc_nat_gateways" "vpc_nat_gateway" "vpc_nat_gateways" "id" Uuid NO, NO, ["id": "id", "name": "name", "region": "region", "size": "size"];
    "uptime_check" "uptime" "/v2/uptime/checks" "check" "checks" "id" Uuid NO, NO, ["id": "id", "name": "name", "type": "type", "target": "target"];
    "uptime_alert" "uptime" "/v2/uptime/checks/{}/alerts" "alert" "alerts" "id" Uuid Some("uptime_check"), NO, ["id": "id", "name": "name", "type": "type"];
    "genai_agent" "genai" "/v2/gen-ai/agents" "agent" "agents" "uuid" Uuid NO, NO, ["id": "uuid", "name": "name", "tag": "tags[]", "region": "region"];
    "genai_knowledge_base" "genai" "/v2/gen-ai/knowledge_bases" "knowledge_base" "knowledge_bases" "uuid" Uuid NO, NO, ["id": "uuid", "name": "name", "tag": "tags[]", "region": "region"];
    "genai_workspace" "genai" "/v2/gen-ai/workspaces" "workspace" "workspaces" "uuid" Uuid NO, NO, ["id": "uuid", "name": "name"];
    "genai_model_router" "genai" "/v2/gen-ai/models/routers" "model_router" "model_routers" "uuid" Uuid NO, NO, ["id": "uuid", "name": "name"];
    "genai_openai_api_key" "genai" "/v2/gen-ai/openai/keys" "api_key_info" "api_key_infos" "uuid" Uuid NO, NO, ["id": "uuid", "name": "name"];
    "genai_anthropic_api_key" "genai" "/v2/gen-ai/anthropic/keys" "api_key_info" "api_key_infos" "uuid" Uuid NO, NO, ["id": "uuid", "name": "name"];
    "action" "actions" "/v2/actions" "action" "actions" "id" Number NO, NO, ["id": "id", "type": "type", "resource": "resource_id"];
};

impl Kind {
    /// The kind of that name.
    pub fn named(name: &str) -> &'static Self {
        static BY_NAME: LazyLock<Vec<&Kind>> = LazyLock::new(|| {
            let mut kinds: Vec<&Kind> = KINDS.iter().collect();
            kinds.sort_by_key(|kind| kind.name);
            kinds
        });
        let at = BY_NAME.binary_search_by(|kind| kind.name.cmp(name));
        at.map_or_else(|_| panic!("no kind {name}"), |at| BY_NAME[at])
    }
}

/// The kind that a parameter of a path names, by the path up to it.
pub fn of_parameter(before: &str, parameter: &str) -> Option<&'static Kind> {
    let name = match parameter {
        "ssh_key_identifier" => "ssh_key",
        "resource_uuid" => "addon",
        "app_id" => "app",
        "deployment_id" => "app_deployment",
        "cdn_id" => "cdn_endpoint",
        "certificate_id" => "certificate",
        "database_cluster_uuid" => "database",
        "replica_name" => "database_replica",
        "username" => "database_user",
        "database_name" => "database_db",
        "pool_name" => "database_pool",
        "topic_name" => "database_topic",
        "logsink_id" => "database_logsink",
        "dedicated_inference_id" => "dedicated_inference",
        "domain_name" => "domain",
        "domain_record_id" => "domain_record",
        "droplet_id" => "droplet",
        "autoscale_pool_id" => "autoscale_pool",
        "firewall_id" => "firewall",
        "namespace_id" => "namespace",
        "trigger_name" => "function_trigger",
        "image_id" => "image",
        "snapshot_id" => "snapshot",
        "cluster_id" => "kubernetes_cluster",
        "node_pool_id" => "node_pool",
        "lb_id" => "load_balancer",
        "alert_uuid" => "alert_policy",
        "destination_uuid" => "monitoring_destination",
        "nfs_id" | "share_id" => "nfs_share",
        "pa_id" => "partner_attachment",
        "project_id" => "project",
        "registry_name" => "registry",
        "repository_name" => "repository",
        "reserved_ip" | "floating_ip" => "reserved_ip",
        "reserved_ipv6" => "reserved_ipv6",
        "access_key" => "spaces_key",
        "tag_id" => "tag",
        "volume_id" => "volume",
        "vpc_id" => "vpc",
        "vpc_peering_id" => "vpc_peering",
        "check_id" => "uptime_check",
        "alert_id" if before.contains("/uptime/") => "uptime_alert",
        "action_id" => "action",
        "agent_uuid" => "genai_agent",
        "knowledge_base_uuid" => "genai_knowledge_base",
        "workspace_uuid" => "genai_workspace",
        "id" if before.ends_with("/apps/") => "app",
        "id" if before.ends_with("/vector-databases/") => "vector_database",
        "id" if before.ends_with("/vpc_nat_gateways/") => "nat_gateway",
        "uuid" if before.ends_with("/agents/") => "genai_agent",
        "uuid" if before.ends_with("/knowledge_bases/") => "genai_knowledge_base",
        "uuid" if before.ends_with("/routers/") => "genai_model_router",
        "api_key_uuid" if before.contains("/openai/") => "genai_openai_api_key",
        "api_key_uuid" if before.contains("/anthropic/") => "genai_anthropic_api_key",
        _ => return None,
    };
    Some(Kind::named(name))
}
