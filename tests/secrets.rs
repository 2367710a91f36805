//! Passwords, tokens, and addresses that are keys: nothing that is printed or written has them.

use std::fs;
use std::path::Path;

use crate::registry::component::versioned;
use crate::registry::server::{
    PASSWORD, Registry, USER, frozen, token_wanted, web, web_with_headers,
};
use crate::registry::workplace::Workplace;

/// `ada:correct horse` in base 64, as it goes over the wire.
const BASE64: &str = "YWRhOmNvcnJlY3QgaG9yc2U=";

/// A server's answer in plain text.
fn says(status: &str, header: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Every file below a folder, in one text.
fn everything(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&everything(&path));
        } else {
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
    text
}

/// Asserts that the secrets are in none of the texts.
#[track_caller]
fn assert_silent(secrets: &[&str], texts: &[&str]) {
    for secret in secrets {
        for text in texts {
            assert!(!text.contains(secret), "`{secret}` is in: {text}");
        }
    }
}

#[test]
fn a_password_is_nowhere_after_it_was_used() {
    let registry = Registry::with_password();
    let host = registry.host();
    let place = format!("{host}/team/step");
    let mut here = Workplace::new();
    let file = versioned(here.path(), "step", "1.2.0");
    here.set("INCUBATE_REGISTRY", &host)
        .set("INCUBATE_REGISTRY_USER", USER)
        .set("INCUBATE_REGISTRY_PASSWORD", PASSWORD);
    let pushed = here
        .plugin(&["push", file.to_str().unwrap(), &place])
        .succeeded();
    let added = here.plugin(&["add", &place]).succeeded();
    let listed = here.plugin(&["list", "--json"]).succeeded();
    let run = here.incubate(&[
        "run",
        "digits",
        "--unit",
        "meta",
        "--out",
        "run",
        "--record-plugins",
        "--device",
        "cpu",
        "--json",
        "--set",
        &format!("meta.schedule.plugin={place}"),
        "--set",
        "meta.epochs=1",
        "--set",
        "data.train_limit=100",
        "--set",
        "model.depth=4",
        "--set",
        "partition.modules=2",
        "--set",
        "meta.batch=50",
    ]);
    let run = run.succeeded();
    // The registry stands in the record, so this looked at the right files.
    let files = everything(here.path());
    assert!(files.contains(&place));
    let mut texts = vec![files.as_str()];
    for answer in [&pushed, &added, &listed, &run] {
        texts.extend([answer.stdout.as_str(), answer.stderr.as_str()]);
    }
    assert_silent(&[PASSWORD, BASE64], &texts);
}

#[test]
fn what_a_server_repeats_of_a_request_is_not_shown() {
    let site = web_with_headers(|_, headers| {
        let sent = headers.replace(['\r', '\n'], " ");
        if sent.to_lowercase().contains("authorization: basic") {
            says(
                "500 Internal Server Error",
                "",
                &format!("you sent: {sent}"),
            )
        } else {
            says(
                "401 Unauthorized",
                "WWW-Authenticate: Basic realm=\"x\"\r\n",
                "",
            )
        }
    });
    let host = site.trim_start_matches("http://");
    let mut here = Workplace::new();
    here.set("INCUBATE_REGISTRY", host)
        .set("INCUBATE_REGISTRY_USER", USER)
        .set("INCUBATE_REGISTRY_PASSWORD", PASSWORD);
    let answer = here.plugin(&["add", &format!("{host}/team/step@1.2.0")]);
    answer.failed(40, &["status 500", "[hidden]"]);
    assert_silent(&[PASSWORD, BASE64], &[&answer.stderr, &answer.stdout]);
}

#[test]
fn a_token_that_a_server_gives_is_not_shown() {
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.c2lnbmF0dXJl";
    let tokens = web(|_| says("200 OK", "", &format!("{{\"token\":\"{TOKEN}\"}}")));
    let realm = format!("{tokens}/token");
    let site = web_with_headers(move |_, headers| {
        if headers.contains(TOKEN) {
            says(
                "500 Internal Server Error",
                "",
                &format!("no: Authorization: Bearer {TOKEN}"),
            )
        } else {
            token_wanted(&realm)
        }
    });
    let host = site.trim_start_matches("http://");
    let answer = Workplace::new().plugin(&["add", &format!("{host}/team/step@1.2.0")]);
    answer.failed(40, &["status 500"]);
    assert_silent(&[TOKEN], &[&answer.stderr, &answer.stdout]);
}

#[test]
fn an_address_that_is_a_key_is_refused_and_one_that_a_server_leads_to_is_not_shown() {
    let here = Workplace::new();
    for address in [
        "https://ada:horse@host.example.org/x.wasm",
        "https://host.example.org/x.wasm?token=horse",
    ] {
        let added = here.plugin(&["add", address]);
        let planned = here.incubate(&[
            "plan",
            "digits",
            "--device",
            "cpu",
            "--set",
            &format!("meta.schedule.plugin={address}"),
        ]);
        for answer in [added, planned] {
            assert_ne!(answer.status, 0);
            assert!(answer.stderr.contains("`host.example.org`"), "{answer:?}");
            assert_silent(&["horse"], &[&answer.stderr, &answer.stdout]);
        }
    }
    let bytes = fs::read(frozen("step")).unwrap();
    let site = web(
        move |path| match path.split('?').next().unwrap_or_default() {
            "/step.wasm" => says("302 Found", "Location: /store?signature=horse\r\n", ""),
            "/loop.wasm" => says("302 Found", "Location: /loop.wasm?signature=horse\r\n", ""),
            "/away.wasm" => says(
                "302 Found",
                "Location: http://127.0.0.1:1/x?signature=horse\r\n",
                "",
            ),
            "/store" => [
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    bytes.len()
                )
                .as_bytes(),
                &bytes,
            ]
            .concat(),
            _ => says("404 Not Found", "", ""),
        },
    );
    let add = |path: &str| here.plugin(&["add", &format!("{site}{path}")]);
    let added = add("/step.wasm").succeeded();
    let refused = [add("/loop.wasm"), add("/away.wasm")];
    let files = everything(here.path());
    let mut texts = vec![files.as_str(), &added.stdout, &added.stderr];
    for answer in &refused {
        assert_eq!(answer.status, 40, "{answer:?}");
        texts.push(&answer.stderr);
    }
    assert_silent(&["horse"], &texts);
}
