//! The floor: hyper alone, which puts another token in and decides nothing.

use std::convert::Infallible;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::support::REAL_TOKEN;

/// Serves until its standard input ends; says its address on standard output.
pub async fn serve(upstream: String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (client, upstream) = (client.clone(), upstream.clone());
        let service = service_fn(move |request| pass(client.clone(), upstream.clone(), request));
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

async fn pass(
    client: Client<HttpConnector, Incoming>,
    upstream: String,
    mut request: Request<Incoming>,
) -> Result<
    Response<http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, hyper::Error>>,
    Infallible,
> {
    let uri: Uri = format!("http://{upstream}{}", request.uri())
        .parse()
        .unwrap();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.remove(hyper::header::HOST);
    headers.remove(CONNECTION);
    let token = HeaderValue::from_str(&format!("Bearer {REAL_TOKEN}")).unwrap();
    headers.insert(AUTHORIZATION, token);
    let mut answer = client.request(request).await.unwrap();
    answer.headers_mut().remove(CONNECTION);
    Ok(answer.map(BodyExt::boxed_unsync))
}
