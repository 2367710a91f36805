//! Plugins through registries and web servers: what is pushed comes back, and what is wrong is said.

pub(crate) mod component;
pub(crate) mod server;
pub(crate) mod workplace;

use std::fs;
use std::path::Path;

use incubate::registry::{Access, At, RegistryClient};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use sha2::{Digest, Sha256};

use self::component::{described, versioned};
use self::server::{
    Identity, PASSWORD, Registry, USER, answer, frozen, nothing, token_wanted, web,
    web_with_headers,
};
use self::workplace::Workplace;

/// The digest of bytes in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_is_pushed_is_pulled_elsewhere_byte_for_byte() {
    let registry = Registry::open();
    let (here, elsewhere) = (Workplace::new(), Workplace::new());
    let file = versioned(here.path(), "cosine", "1.2.0");
    let place = format!("{}/team/cosine", registry.host());
    let pushed = here.plugin(&["push", text(&file), &place]).succeeded();
    let bytes = fs::read(&file).unwrap();
    assert!(pushed.stdout.contains(&sha256(&bytes)), "{}", pushed.stdout);

    elsewhere.plugin(&["pull", &place]).succeeded();
    assert_eq!(fs::read(elsewhere.file("cosine.wasm")).unwrap(), bytes);

    // The manifest is what other tools for components expect.
    let client = RegistryClient::new(Access::default());
    let repository = match place.parse().unwrap() {
        incubate::plugin::Reference::Registry(place) => place.repository,
        other => panic!("{other:?}"),
    };
    let (artefact, digest) = client
        .pull(&repository, &At::Tag("1.2.0".to_owned()))
        .unwrap();
    assert!(pushed.stdout.contains(&digest));
    assert_eq!(
        artefact.config.media_type,
        "application/vnd.wasm.config.v0+json"
    );
    assert_eq!(artefact.layers.len(), 1);
    assert_eq!(artefact.layers[0].media_type, "application/wasm");
    let config: serde_json::Value = serde_json::from_slice(&artefact.config.bytes).unwrap();
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["os"], "wasip2");
    assert_eq!(
        config["layerDigests"][0],
        format!("sha256:{}", sha256(&bytes))
    );
    assert_eq!(
        config["component"]["exports"],
        serde_json::json!([
            "incubate:plugin/description@0.1.0",
            "incubate:plugin/schedule@0.1.0"
        ])
    );
    let annotation =
        |key: &str| artefact.annotations[&format!("org.opencontainers.image.{key}")].as_str();
    assert_eq!(annotation("version"), "1.2.0");
    assert_eq!(annotation("licenses"), "MIT OR Apache-2.0");
    assert_eq!(annotation("authors"), "Ada");

    // By the digest of the manifest, too.
    let by_digest = format!("{place}@{digest}");
    elsewhere
        .plugin(&["pull", &by_digest, "-o", "by-digest.wasm"])
        .succeeded();
    assert_eq!(fs::read(elsewhere.file("by-digest.wasm")).unwrap(), bytes);

    let inspected = elsewhere.plugin(&["inspect", &place]).succeeded().stdout;
    for phrase in [
        "MIT OR Apache-2.0",
        "Ada",
        "https://example.org/plugins",
        &place,
    ] {
        assert!(inspected.contains(phrase), "no `{phrase}` in {inspected}");
    }
}

#[test]
fn the_newest_version_that_fits_is_taken() {
    let registry = Registry::open();
    let here = Workplace::new();
    let place = format!("{}/team/step", registry.host());
    for version in ["1.2.0", "1.2.5", "1.3.0", "2.0.0"] {
        let file = versioned(here.path(), "step", version);
        here.plugin(&["push", text(&file), &place]).succeeded();
    }
    let resolved = |wanted: &str| {
        let place = format!("{place}{wanted}");
        let list = here.plugin(&["inspect", &place, "--json"]).succeeded();
        list.json_lines()[0]["description"]["version"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(resolved("@^1.2"), "1.3.0");
    assert_eq!(resolved("@~1.2"), "1.2.5");
    assert_eq!(resolved("@1.2.0"), "1.2.0");
    assert_eq!(resolved("@*"), "2.0.0");
    assert_eq!(resolved(""), "2.0.0");
    here.plugin(&["add", &format!("{place}@^3")]).failed(
        40,
        &[
            "no version fits `^3`",
            "1.2.0, 1.2.5, 1.3.0, 2.0.0",
            "team/step",
        ],
    );
    here.plugin(&["add", &format!("{place}@1.2")])
        .failed(2, &["`1.2`", "three numbers"]);
    here.plugin(&["add", &format!("{place}@9.9.9")])
        .failed(40, &["no tag `9.9.9`"]);
    here.plugin(&["add", &format!("{}/team/none", registry.host())])
        .failed(40, &["team/none", "no repository of this name"]);

    // A published version does not change.
    let other = versioned(here.path(), "cosine", "1.2.0");
    let refused = here.plugin(&["push", text(&other), &place]);
    let there = sha256(&fs::read(here.file("step-1.2.0.wasm")).unwrap());
    refused.failed(
        10,
        &[
            "1.2.0 is there already",
            &there,
            &sha256(&fs::read(&other).unwrap()),
        ],
    );
}

#[test]
fn a_push_needs_metadata_that_agrees() {
    let registry = Registry::open();
    let here = Workplace::new();
    let place = format!("{}/team/step", registry.host());
    let bytes = fs::read(frozen("step")).unwrap();
    let push = |name: &str, bytes: &[u8], place: &str| {
        here.plugin(&["push", text(&here.write(name, bytes)), place])
    };
    push("bare.wasm", &bytes, &place).failed(10, &["bare.wasm", "no name, no version, no licence"]);
    push("other.wasm", &described(&bytes, "step", "0.2.0"), &place)
        .failed(10, &["`step` 0.1.0", "`step` 0.2.0"]);
    push("named.wasm", &described(&bytes, "stairs", "0.1.0"), &place)
        .failed(10, &["`step` 0.1.0", "`stairs` 0.1.0"]);
    let good = described(&bytes, "step", "0.1.0");
    push("good.wasm", &good, &format!("{place}@0.2.0")).failed(2, &["the plugin is version 0.1.0"]);
    push("good.wasm", &good, "./elsewhere").failed(2, &["no place in a registry"]);
    push("good.wasm", &good, &format!("{place}:0.1.0")).failed(2, &["with `@`"]);
    push("good.wasm", &good, &format!("{place}@0.1.0")).succeeded();
    // The same bytes again change nothing.
    push("good.wasm", &good, &place).succeeded();
}

#[test]
fn a_tag_that_is_not_the_version_inside_is_refused() {
    let registry = Registry::open();
    let here = Workplace::new();
    let place = format!("{}/team/step", registry.host());
    let file = versioned(here.path(), "step", "1.2.0");
    here.plugin(&["push", text(&file), &place]).succeeded();
    let client = RegistryClient::new(Access::default());
    let Ok(incubate::plugin::Reference::Registry(reference)) = place.parse() else {
        panic!("{place}");
    };
    let (artefact, _) = client
        .pull(&reference.repository, &At::Tag("1.2.0".to_owned()))
        .unwrap();
    client
        .push(&reference.repository, "1.2.9", &artefact)
        .unwrap();
    here.plugin(&["add", &format!("{place}@^1.2")])
        .failed(10, &["calls it version 1.2.9", "it is 1.2.0"]);
}

#[test]
fn passwords_are_asked_for_and_checked() {
    let registry = Registry::with_password();
    let host = registry.host();
    let place = format!("{host}/team/step");
    let mut here = Workplace::new();
    let file = versioned(here.path(), "step", "1.2.0");
    let login = format!("docker login {host}");
    for command in [&["push", text(&file), &place][..], &["add", &place]] {
        here.plugin(command).failed(40, &["no credentials", &login]);
    }
    here.set("INCUBATE_REGISTRY_USER", USER);
    here.plugin(&["add", &place])
        .failed(40, &["INCUBATE_REGISTRY_PASSWORD", &host]);
    // Credentials for another registry are not shown to this one.
    here.set("INCUBATE_REGISTRY_PASSWORD", PASSWORD)
        .set("INCUBATE_REGISTRY", "other.example.org");
    here.plugin(&["add", &place])
        .failed(40, &["no credentials", &login]);
    here.set("INCUBATE_REGISTRY", &host)
        .set("INCUBATE_REGISTRY_PASSWORD", "wrong");
    here.plugin(&["add", &place])
        .failed(40, &["refused the credentials of `ada`", &login]);
    here.plugin(&["push", text(&file), &place])
        .failed(40, &["refused the credentials of `ada`", &login]);
    here.set("INCUBATE_REGISTRY_PASSWORD", PASSWORD);
    here.plugin(&["push", text(&file), &place]).succeeded();
    here.plugin(&["add", &place]).succeeded();

    // What `docker login` wrote serves as well: `ada:correct horse` in base 64.
    let docker = Workplace::new();
    fs::create_dir(docker.file("docker")).unwrap();
    let config = serde_json::json!({ "auths": { &host: { "auth": "YWRhOmNvcnJlY3QgaG9yc2U=" } } });
    docker.write("docker/config.json", config.to_string());
    docker.plugin(&["add", &place]).succeeded();
}

/// A certificate for these names by an authority, with that authority.
fn certificate(name: &str, expired: bool) -> (Identity, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let certificate = params.signed_by(&key, &authority).unwrap();
    let identity = Identity {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    };
    (identity, authority.pem())
}

#[test]
fn certificates_are_checked() {
    let (identity, authority) = certificate("localhost", false);
    let registry = Registry::with_certificate(&identity);
    let place = format!("{}/team/step", registry.at("localhost"));
    let mut here = Workplace::new();
    let file = versioned(here.path(), "step", "1.2.0");
    let ca = here.write("ca.pem", authority);
    let push = ["push", text(&file), &place];
    here.plugin(&push)
        .failed(40, &["not known here", "`--ca-file FILE`"]);
    // Not checking certificates is not on offer.
    here.plugin(&[&push[..], &["--insecure"]].concat())
        .failed(40, &["not known here"]);
    here.plugin(&[&push[..], &["--ca-file", text(&ca)]].concat())
        .succeeded();
    let other = format!("{}/team/step", registry.host());
    here.plugin(&["add", &other, "--ca-file", text(&ca)])
        .failed(40, &["not for this host name"]);
    here.plugin(&["add", &place, "--ca-file", text(&file)])
        .failed(40, &["step-1.2.0.wasm", "certificates in PEM form"]);
    here.plugin(&["add", &place, "--ca-file", "none.pem"])
        .failed(40, &["none.pem"]);
    here.set("SSL_CERT_FILE", ca.as_os_str());
    here.plugin(&["add", &place]).succeeded();
}

#[test]
fn an_expired_certificate_is_said_to_be_that() {
    let (identity, authority) = certificate("localhost", true);
    let registry = Registry::with_certificate(&identity);
    let here = Workplace::new();
    let ca = here.write("ca.pem", authority);
    let place = format!("{}/team/step", registry.at("localhost"));
    here.plugin(&["add", &place, "--ca-file", text(&ca)])
        .failed(40, &["expired", "renew it"]);
}

#[test]
fn what_was_changed_in_the_registry_is_not_used() {
    let registry = Registry::open();
    let here = Workplace::new();
    let file = versioned(here.path(), "step", "1.2.0");
    let place = format!("{}/team/step", registry.host());
    here.plugin(&["push", text(&file), &place]).succeeded();
    let mut bytes = fs::read(&file).unwrap();
    let digest = sha256(&bytes);
    let blob = registry.blob(&digest);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    here.plugin(&["add", &place])
        .failed(10, &[&digest, &sha256(&bytes), "not used"]);
    bytes.extend_from_slice(&[0; 1000]);
    fs::write(&blob, &bytes).unwrap();
    here.plugin(&["add", &place])
        .failed(10, &["more bytes came", "that the manifest names"]);
    bytes.truncate(1000);
    fs::write(&blob, &bytes).unwrap();
    here.plugin(&["add", &place])
        .failed(10, &[&digest, &sha256(&bytes)]);
    assert!(!here.file("incubate.lock").exists());
}

#[test]
fn servers_that_are_not_there_are_said_to_be_that() {
    let here = Workplace::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    here.plugin(&["add", &format!("{free}/team/step")])
        .failed(40, &["refused", "running"]);
    here.plugin(&["add", "registry.invalid/team/step"])
        .failed(40, &["no host of this name"]);
    // Plain http is for this machine alone.
    here.plugin(&["add", "http://registry.invalid/x.wasm"])
        .failed(40, &["--insecure"]);
}

#[test]
fn addresses_give_components_and_say_when_they_do_not() {
    let bytes = fs::read(frozen("step")).unwrap();
    let served = bytes.clone();
    let site = web(move |path| match path {
        "/step.wasm" => answer(&served, served.len()),
        "/short.wasm" => answer(&served[..1000], served.len()),
        "/huge.wasm" => answer(&served, 1 << 40),
        "/text.wasm" => answer(b"hello", 5),
        _ => nothing(),
    });
    let here = Workplace::new();
    let add = |path: &str| here.plugin(&["add", &format!("{site}{path}")]);
    add("/step.wasm").succeeded();
    assert!(here.lock().contains(&sha256(&bytes)));
    add("/short.wasm").failed(40, &["/short.wasm", "ended before everything had come"]);
    add("/huge.wasm").failed(40, &["1099511627776 bytes"]);
    add("/none.wasm").failed(40, &["/none.wasm", "no file"]);
    add("/text.wasm").failed(10, &["no WebAssembly component but a text"]);
}

#[test]
fn registries_with_tokens_and_pages_are_understood() {
    // A token of three parts, as large registries give them; it expires in the year 2100.
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.c2lnbmF0dXJl";
    let tokens = web(|path| {
        assert!(path.contains("scope=repository"), "{path}");
        let body = format!("{{\"token\":\"{TOKEN}\"}}");
        answer(body.as_bytes(), body.len())
    });
    let realm = format!("{tokens}/token");
    let site = web_with_headers(move |path, headers| {
        if !headers.contains(&format!("Bearer {TOKEN}")) {
            return token_wanted(&realm);
        }
        let tags = match path.split_once("last=") {
            None => r#"["1.2.0","latest"]"#,
            Some((_, "latest")) => r#"["1.3.0"]"#,
            Some(_) => "[]",
        };
        let body = format!("{{\"name\":\"team/step\",\"tags\":{tags}}}");
        answer(body.as_bytes(), body.len())
    });
    let host = site.trim_start_matches("http://");
    let here = Workplace::new();
    here.plugin(&["add", &format!("{host}/team/step@^4")])
        .failed(40, &["no version fits", "1.2.0, 1.3.0"]);
}

#[test]
fn answers_without_end_are_refused() {
    // A body that has no announced length and one byte more than is taken.
    fn endless(most: usize) -> Vec<u8> {
        let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        answer.resize(answer.len() + most + 1, b' ');
        answer
    }
    const PAGE: usize = 4 << 20;
    const LOGIN: usize = 1 << 20;
    let add = |site: &str, what: &str| {
        let host = site.trim_start_matches("http://");
        Workplace::new().plugin(&["add", &format!("{host}/team/step{what}")])
    };
    for announced in [true, false] {
        let site = web(move |path| match path {
            "/v2/" => answer(b"", 0),
            _ if announced => answer(b"", PAGE + 1),
            _ => endless(PAGE),
        });
        let taken = format!("at most {PAGE} are taken");
        add(&site, "@^4").failed(40, &["or more", &taken]);
        let digest = format!("@sha256:{}", "0".repeat(64));
        add(&site, &digest).failed(40, &["or more", &taken]);
        let tokens = web(move |_| match announced {
            true => answer(b"", LOGIN + 1),
            false => endless(LOGIN),
        });
        let site = web(move |_| token_wanted(&format!("{tokens}/token")));
        add(&site, "@^4").failed(40, &[&format!("at most {LOGIN} are taken")]);
    }
}

#[test]
fn a_login_elsewhere_without_encryption_is_refused() {
    let site = web(|_| token_wanted("http://registry.invalid/token"));
    let host = site.trim_start_matches("http://");
    Workplace::new()
        .plugin(&["add", &format!("{host}/team/step@^4")])
        .failed(40, &["plain http is for this machine alone"]);
}
