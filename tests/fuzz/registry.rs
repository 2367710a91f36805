//! A registry that answers with the bytes of an input, on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use incubate::plugin::{Reference, Repository};
use incubate::registry::{
    Access, Artefact, At, RegistryClient, RegistryError, component_of, unit_of,
};

use super::{files, sha256, with};

/// The first byte of a connection that wants to be encrypted.
const TLS_GREETING: u8 = 0x16;
/// Stands for the address of the registry in an input.
const HERE: &str = "http://HERE/";

/// What the registry says: to a greeting, to a login, as manifest, as list of tags, as config, and as
/// layer; each is a head with the status, an empty line, and a body.
type Answers = [Vec<u8>; 6];

/// Where the registry listens. One test at a time asks it.
static ADDRESS: LazyLock<String> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The other side may have gone away.
            let _ = serve(stream);
        }
    });
    address
});
static ANSWERS: Mutex<Answers> = Mutex::new([const { Vec::new() }; 6]);
static TURN: Mutex<()> = Mutex::new(());

fn locked<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first)? > 0 && first[0] == TLS_GREETING {
        let _ = stream.read(&mut [0; 4096])?;
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    request.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut headers = String::new();
    while request.read_line(&mut headers)? > 2 {}
    let answer = {
        let answers = locked(&ANSWERS);
        let [greeting, login, manifest, tags, config, layer] = &*answers;
        let chosen = if path == "/v2/" {
            greeting
        } else if path.contains("/manifests/") {
            manifest
        } else if path.contains("/tags/") {
            tags
        } else if path.contains(&sha256(body(config))) {
            config
        } else if path.contains("/blobs/") {
            layer
        } else {
            login
        };
        let body = body(chosen);
        let head = String::from_utf8_lossy(&chosen[..chosen.len() - body.len()]).into_owned();
        let mut answer = b"HTTP/1.1 ".to_vec();
        for line in head.trim_end().lines() {
            answer.extend(line.as_bytes());
            answer.extend(b"\r\n");
        }
        let end = format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        answer.extend(end.as_bytes());
        answer.extend(body);
        answer
    };
    stream.write_all(&answer)?;
    stream.shutdown(Shutdown::Write)
}

/// What follows the first empty line.
fn body(answer: &[u8]) -> &[u8] {
    let end = answer.windows(2).position(|pair| pair == b"\n\n");
    end.map_or(&[], |end| &answer[end + 2..])
}

/// Pulls an artefact and lists tags. What is pulled is looked at as a component and as a unit.
pub fn registry(bytes: &[u8]) {
    if let (Ok((artefact, digest)), _) = asked(bytes) {
        assert!(digest.starts_with("sha256:"));
        let _ = component_of(artefact.clone());
        let _ = unit_of("a registry", artefact);
    }
}

/// What a registry said.
type Said = (
    Result<(Artefact, String), RegistryError>,
    Result<Vec<String>, RegistryError>,
);

/// What the client makes of the answers in an input.
pub fn asked(bytes: &[u8]) -> Said {
    let parts: [&[u8]; 6] = files(bytes);
    let mut answers = parts.map(|part| {
        let text = String::from_utf8_lossy(part);
        text.replace(HERE, &format!("http://{}/", *ADDRESS))
            .into_bytes()
    });
    // Digests and sizes are those of what is handed out, so that what lies behind is reached.
    let [.., config, layer] = &answers;
    let (config, layer) = (body(config).to_vec(), body(layer).to_vec());
    let manifest = body(&answers[2]);
    let head = answers[2][..answers[2].len() - manifest.len()].to_vec();
    let mut manifest = manifest.to_vec();
    for (place, bytes) in [(&["config"][..], config), (&["layers", "0"], layer)] {
        let digest = format!("sha256:{}", sha256(&bytes));
        manifest = with(&manifest, &[place, &["digest"]].concat(), digest);
        manifest = with(&manifest, &[place, &["size"]].concat(), bytes.len());
    }
    answers[2] = [head, manifest].concat();
    let _turn = locked(&TURN);
    // Nobody else is ever asked: an answer may name no other place.
    let elsewhere = answers.iter().any(|answer| {
        let head = &answer[..answer.len() - body(answer).len()];
        let head = String::from_utf8_lossy(head).to_lowercase();
        let here = head.matches(&format!("http://{}/", *ADDRESS)).count();
        head.matches("//").count() != here || head.matches("http").count() != here
    });
    *locked(&ANSWERS) = if elsewhere {
        Default::default()
    } else {
        answers
    };
    let Ok(Reference::Registry(place)) = format!("{}/team/step", *ADDRESS).parse() else {
        unreachable!("an address with a path is a place in a registry");
    };
    let repository: Repository = place.repository;
    let client = RegistryClient::new(Access::default());
    let artefact = client.pull(&repository, &At::Tag("1.0.0".to_owned()));
    (artefact, client.tags(&repository))
}
