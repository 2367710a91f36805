//! A registry of the test's own: Debian's `docker-registry` on loopback, in a temporary folder.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The user of a registry with a password.
pub(crate) const USER: &str = "ada";
/// Their password.
pub(crate) const PASSWORD: &str = "correct horse";
/// The same for the registry, hashed by bcrypt.
const HTPASSWD: &str = "ada:$2b$04$Jn/lLLjYSIOvJc85mwwVTOz8RInZCMcgiDyLpV1DNNeugEJzU4rsG\n";

/// A running registry; it ends with this value.
pub(crate) struct Registry {
    child: Child,
    folder: TempDir,
    port: u16,
}

/// Certificate and key of a registry, in PEM form.
pub(crate) struct Identity {
    /// The certificate.
    pub(crate) certificate: String,
    /// Its key.
    pub(crate) key: String,
}

impl Registry {
    /// A registry for everybody.
    pub(crate) fn open() -> Self {
        Self::start("", None)
    }

    /// A registry that wants [`USER`] and [`PASSWORD`].
    pub(crate) fn with_password() -> Self {
        Self::start(
            "auth:\n  htpasswd:\n    realm: test\n    path: HTPASSWD\n",
            None,
        )
    }

    /// A registry that speaks https.
    pub(crate) fn with_certificate(identity: &Identity) -> Self {
        Self::start("", Some(identity))
    }

    fn start(more: &str, identity: Option<&Identity>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // Another program may take the port in between; then the registry ends and the test says so.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        fs::write(path("htpasswd"), HTPASSWD).unwrap();
        let tls = identity.map_or_else(String::new, |identity| {
            fs::write(path("server.pem"), &identity.certificate).unwrap();
            fs::write(path("server.key"), &identity.key).unwrap();
            format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                path("server.pem").display(),
                path("server.key").display()
            )
        });
        let more = more.replace("HTPASSWD", &path("htpasswd").display().to_string());
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{tls}{more}",
            path("storage").display()
        );
        fs::write(path("config.yml"), config).unwrap();
        let log = File::create(path("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(path("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("docker-registry: {error} (apt-get install docker-registry)")
            });
        let mut registry = Self {
            child,
            folder,
            port,
        };
        registry.wait();
        registry
    }

    /// Waits until the registry takes connections.
    fn wait(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the registry ended: {ended:?}\n{}", log());
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "the registry does not listen\n{}",
                log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The registry as references name it, by this host.
    pub(crate) fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }

    /// The registry as references name it.
    pub(crate) fn host(&self) -> String {
        self.at("127.0.0.1")
    }

    /// The file in which the registry keeps the bytes with this digest, in hexadecimal.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.folder
            .path()
            .join("storage/docker/registry/v2/blobs/sha256")
            .join(&digest[..2])
            .join(digest)
            .join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A web server on loopback that answers every path with what `answer` says, for as long as the test
/// runs; answers its address.
pub(crate) fn web(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    web_with_headers(move |path, _| answer(path))
}

/// As [`web`], with the headers of the request, too.
pub(crate) fn web_with_headers(answer: impl Fn(&str, &str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            // A greeting of TLS is no text; whoever sends one gets an answer that is not TLS.
            let path = match request.read_line(&mut line) {
                Ok(_) => line.split(' ').nth(1).unwrap_or("/").to_owned(),
                Err(_) => "/".to_owned(),
            };
            let mut headers = String::new();
            while request
                .read_line(&mut headers)
                .is_ok_and(|length| length > 2)
            {}
            // The other side may have gone away.
            let _ = stream.write_all(&answer(&path, &headers));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let _ = stream.read(&mut [0; 512]);
        }
    });
    format!("http://{address}")
}

/// An HTTP answer with a body that claims to have `length` bytes.
pub(crate) fn answer(body: &[u8], length: usize) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
            .into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// An HTTP answer that asks for a token, which this address gives.
pub(crate) fn token_wanted(realm: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\",service=\"test\"\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// An HTTP answer that there is nothing.
pub(crate) fn nothing() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
}

/// Where the frozen components of contract 0.1.0 lie.
pub(crate) fn frozen(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/contracts/0.1.0/{name}.wasm"))
}
