use super::*;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use std::path::PathBuf;
use tower::ServiceExt as _;

async fn ask(method: Method, path: &str, known: Option<&str>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(known) = known {
        request = request.header(header::IF_NONE_MATCH, known);
    }
    let response = router().oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    let (head, body) = response.into_parts();
    (head.status, head.headers, to_bytes(body, BYTES_MAX).await.expect("it is short").to_vec())
}

#[tokio::test]
async fn every_file_has_its_type_and_may_load_nothing_from_elsewhere() {
    let cases = [
        ("/", "text/html; charset=utf-8", "no-store"),
        ("/web/style.css", "text/css; charset=utf-8", "no-cache"),
        ("/web/app.mjs", "text/javascript; charset=utf-8", "no-cache"),
        ("/web/icon.svg", "image/svg+xml", "no-cache"),
    ];
    for (path, kind, cache) in cases {
        let (status, headers, body) = ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], kind);
        assert_eq!(headers[header::CACHE_CONTROL], cache);
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
        assert!(
            policy.starts_with("default-src 'self';") && !policy.contains("-inline") && !policy.contains("-eval"),
            "{policy}"
        );
        let (status, head, nothing) = ask(Method::HEAD, path, None).await;
        assert_eq!((status, &head[header::ETAG], nothing.len()), (StatusCode::OK, &headers[header::ETAG], 0));
        assert_eq!(head[header::CONTENT_LENGTH], body.len().to_string().as_str());
    }
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again_but_pages_are() {
    for (path, again) in [("/web/app.mjs", StatusCode::NOT_MODIFIED), ("/", StatusCode::OK)] {
        let (_, headers, body) = ask(Method::GET, path, None).await;
        let tag = headers[header::ETAG].to_str().expect("ASCII").to_owned();
        assert_eq!(ask(Method::GET, path, Some(&tag)).await.0, again);
        let (status, _, changed) = ask(Method::GET, path, Some("\"another\"")).await;
        assert_eq!((status, changed), (StatusCode::OK, body));
    }
}

#[tokio::test]
async fn no_path_leaves_the_list() {
    let paths = [
        "/web/../Cargo.toml",
        "/web/..%2fCargo.toml",
        "/web/%2e%2e/%2e%2e/etc/passwd",
        "/web//etc/passwd",
        "/web/pages/../app.mjs",
        "/web/vendor/vendor.lock",
        "/web/app.mjs%00",
        "/web/pages",
        "/web/",
    ];
    for path in paths {
        assert_eq!(ask(Method::GET, path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(ask(Method::POST, "/", None).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn the_import_map_is_the_one_script_in_the_page_and_named_by_its_hash() {
    let page = bytes_of(INDEX).expect("it is there");
    let page = std::str::from_utf8(&page).expect("UTF-8");
    let inline = page.matches("<script").count() - page.matches("<script type=\"module\" src=").count();
    assert_eq!(inline, 1);
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "inline style or handler");
    let map = "<script type=\"importmap\">{}</script>";
    // `printf {} | openssl dgst -sha256 -binary | base64`
    assert!(policy(map.as_bytes()).contains("'sha256-RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o='"));
    assert!(!policy(b"<p>").contains("sha256"));
}

#[test]
fn the_list_is_the_folder_and_small() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../web");
    let mut names = Vec::new();
    for part in ["", "pages/", "vendor/"] {
        for entry in folder.join(part).read_dir().expect("a folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            if [".html", ".css", ".svg", ".mjs"].iter().any(|ending| name.ends_with(ending)) {
                names.push(format!("{part}{name}"));
            }
        }
    }
    let mut listed: Vec<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    listed.sort();
    assert_eq!(names, listed);
    let bytes: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes}");
    // Text of others never becomes markup.
    for (name, _) in FILES.iter().filter(|(name, _)| !name.starts_with("vendor/")) {
        let text = bytes_of(name).expect("it is there");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains("innerHTML") && !text.contains("dangerously"), "{name}");
    }
}
