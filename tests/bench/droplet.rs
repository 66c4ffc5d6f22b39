//! A Droplet as the API shows it.

use serde_json::{Value, json};

/// A Droplet in full, after the example of the API's reference.
pub fn droplet(number: usize) -> Value {
    let (team, last) = (number % 10, number % 250 + 2);
    let created = "2026-01-21T16:36:45Z";
    json!({
        "id": 300_000_000 + number, "name": format!("team-{team}-web-{number}.example.com"),
        "memory": 1024, "vcpus": 1, "disk": 25, "disk_info": [{ "type": "local", "size": { "amount": 25, "unit": "gib" } }],
        "locked": false, "status": "active", "kernel": null, "created_at": created,
        "features": ["backups", "private_networking", "ipv6"],
        "backup_ids": [53_893_572], "next_backup_window": { "start": "2026-01-30T00:00:00Z", "end": "2026-01-30T23:00:00Z" },
        "snapshot_ids": [67_512_819],
        "image": { "id": 63_663_980, "name": "24.04 (LTS) x64", "distribution": "Ubuntu", "slug": "ubuntu-24-04-x64",
            "public": true, "regions": ["ams2", "ams3", "blr1", "fra1", "lon1", "nyc1", "nyc2", "nyc3", "sfo1", "sfo2",
            "sfo3", "sgp1", "tor1"], "created_at": "2025-05-15T05:47:50Z", "type": "snapshot", "min_disk_size": 20,
            "size_gigabytes": 2.36, "description": "", "tags": [], "status": "available", "error_message": "" },
        "volume_ids": [], "size_slug": "s-1vcpu-1gb",
        "size": { "slug": "s-1vcpu-1gb", "memory": 1024, "vcpus": 1, "disk": 25, "transfer": 1.0, "price_monthly": 5.0,
            "price_hourly": 0.007_44, "regions": ["ams2", "ams3", "blr1", "fra1", "lon1", "nyc1", "nyc2", "nyc3", "sfo1",
            "sfo2", "sfo3", "sgp1", "tor1"], "available": true, "description": "Basic" },
        "networks": { "v4": [
            { "ip_address": format!("10.128.192.{last}"), "netmask": "255.255.0.0", "gateway": "nil", "type": "private" },
            { "ip_address": format!("192.0.2.{last}"), "netmask": "255.255.240.0", "gateway": "192.0.2.1", "type": "public" }],
            "v6": [{ "ip_address": format!("2001:db8:0:1::{last:x}"), "netmask": 64, "gateway": "2001:db8:0:1::1",
            "type": "public" }] },
        "region": { "name": "New York 3", "slug": "nyc3", "features": ["private_networking", "backups", "ipv6", "metadata",
            "install_agent", "storage", "image_transfer"], "available": true, "sizes": ["s-1vcpu-1gb", "s-1vcpu-2gb",
            "s-1vcpu-3gb", "s-2vcpu-2gb", "s-3vcpu-1gb", "s-2vcpu-4gb", "s-4vcpu-8gb", "s-6vcpu-16gb", "s-8vcpu-32gb"] },
        "tags": [format!("team-{team}"), "env:prod"], "vpc_uuid": "760e09ef-dc84-11e8-981e-3cfdfeaae000",
    })
}
