//! The clients as they were recorded: the headers that each sends, in its own order and spelling.

use super::talk::{Client, Typed};

const fn client(
    name: &'static str,
    typed: Typed,
    content_type: &'static str,
    headers: &'static str,
) -> Client {
    Client {
        name,
        headers,
        content_type,
        typed,
        body_of_get: "",
    }
}

const JSON: &str = "Content-Type: application/json";

pub const DOCTL: Client = client(
    "doctl",
    Typed::NotOnGet,
    JSON,
    "Host: {host}
User-Agent: doctl/1.167.0 (linux amd64) godo/1.202.0
Accept: application/json
Authorization: Bearer {token}
Accept-Encoding: gzip",
);

pub const TERRAFORM: Client = client(
    "Terraform",
    Typed::NotOnGet,
    JSON,
    "Host: {host}
User-Agent: Terraform/1.0.3 godo/1.202.0
Accept: application/json
Authorization: Bearer {token}
Accept-Encoding: gzip",
);

pub const MCP: Client = client(
    "MCP",
    Typed::NotOnGet,
    JSON,
    "Host: {host}
User-Agent: mcp-digitalocean/1.0.70 godo/1.206.0
Accept: application/json
Authorization: Bearer {token}
Accept-Encoding: gzip",
);

pub const LEGO: Client = client(
    "lego",
    Typed::Always,
    JSON,
    "Host: {host}
User-Agent: Go-http-client/1.1
Authorization: Bearer {token}
Accept-Encoding: gzip",
);

pub const PYDO: Client = client(
    "pydo",
    Typed::WithBody,
    JSON,
    "Host: {host}
Accept: application/json
x-ms-client-request-id: 00000000-0000-11f0-8000-000000000000
User-Agent: azsdk-python-pydo/0.44.0 Python/3.11.7 (Linux-x86_64)
Authorization: Bearer {token}
Accept-Encoding: gzip, deflate
Connection: keep-alive",
);

pub const PYTHON_DIGITALOCEAN: Client = client(
    "python-digitalocean",
    Typed::Always,
    "Content-type: application/json",
    "Host: {host}
User-Agent: python-digitalocean/1.16.0 requests/2.34.2
Accept-Encoding: gzip, deflate
Accept: */*
Connection: keep-alive
Authorization: Bearer {token}",
);

pub const LEXICON: Client = Client {
    body_of_get: "{}",
    ..client(
        "lexicon",
        Typed::Always,
        JSON,
        "Host: {host}
User-Agent: python-requests/2.34.2
Accept-Encoding: gzip, deflate
Accept: application/json
Connection: keep-alive
Authorization: Bearer {token}",
    )
};

pub const OCTODNS: Client = client(
    "octodns",
    Typed::WithBody,
    JSON,
    "Host: {host}
User-Agent: octodns/1.22.0 octodns-digitalocean/1.0.1
Accept-Encoding: gzip, deflate
Accept: */*
Connection: keep-alive
Authorization: Bearer {token}",
);

pub const LIBCLOUD: Client = client(
    "libcloud",
    Typed::Always,
    JSON,
    "Host: {host}
User-Agent: libcloud/3.9.1 (DigitalOcean) \nAccept-Encoding: gzip,deflate
Accept: */*
Connection: keep-alive
Authorization: Bearer {token}",
);

pub const ANSIBLE: Client = Client {
    body_of_get: "null",
    ..client(
        "ansible",
        Typed::Always,
        JSON,
        "Accept-Encoding: identity
Host: {host}
User-Agent: ansible-httpget
Authorization: Bearer {token}
Connection: close",
    )
};

pub const DOTS: Client = client(
    "dots",
    Typed::WithBody,
    "content-type: application/json",
    "host: {host}
connection: keep-alive
accept: application/json
authorization: Bearer {token}
user-agent: DigitalOcean-Dots/1.19.0, kiota-typescript/1.0.0-preview.99
accept-language: *
sec-fetch-mode: cors
accept-encoding: gzip, deflate",
);

pub const DOTS_WRAPPER: Client = client(
    "dots-wrapper",
    Typed::NotOnGet,
    JSON,
    "Accept: application/json, text/plain, */*
Authorization: Bearer {token}
User-Agent: axios/1.21.1
Accept-Encoding: gzip, compress, deflate, br
Host: {host}
Connection: keep-alive",
);

pub const DO_WRAPPER: Client = client(
    "do-wrapper",
    Typed::WithBody,
    "content-type: application/json",
    "host: {host}
user-agent: got (https://github.com/sindresorhus/got)
authorization: Bearer {token}
content_type: application/json
accept-encoding: gzip, deflate, br
connection: keep-alive",
);

pub const DIGITALOCEAN: Client = Client {
    body_of_get: r#"{"type":"TXT","name":"_acme-challenge","data":"of-an-earlier-post"}"#,
    ..client(
        "digitalocean (npm)",
        Typed::Always,
        "content-type: application/json",
        "host: {host}
authorization: Bearer {token}
user-agent: digitalocean-node/1.2.1
connection: keep-alive",
    )
};

pub const DIGITALOCEAN_JS: Client = client(
    "digitalocean-js",
    Typed::WithBody,
    JSON,
    "Accept: application/json, text/plain, */*
Authorization: Bearer {token}
User-Agent: axios/0.24.0
Host: {host}
Connection: keep-alive",
);

/// All of them.
pub const ALL_CLIENTS: [&Client; 15] = [
    &DOCTL,
    &TERRAFORM,
    &MCP,
    &LEGO,
    &PYDO,
    &PYTHON_DIGITALOCEAN,
    &LEXICON,
    &OCTODNS,
    &LIBCLOUD,
    &ANSIBLE,
    &DOTS,
    &DOTS_WRAPPER,
    &DO_WRAPPER,
    &DIGITALOCEAN,
    &DIGITALOCEAN_JS,
];
