//! G6 and G3 of the API's TLS, by the binary: with curl, Python's ssl and openssl, and certificates
//! that are renewed, expired, or of another key.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, Process, fanfare, run};

const CONFIG: &str = "api_tls = { certificate = 'chain.pem', key = 'key.pem' }\n\
                      [limits]\nhead_time = '500ms'\n";

/// A certificate for 127.0.0.1 that counts between these years, and its key, in PEM.
fn pair(from: i32, to: i32) -> (String, String) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Puts a file in its place at once, as whoever renews certificates does.
fn put(folder: &Path, name: &str, text: &str, mode: u32) {
    let beside = folder.join("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, Permissions::from_mode(mode)).unwrap();
    fs::rename(&beside, folder.join(name)).unwrap();
}

fn put_pair(folder: &Path, (chain, key): &(String, String)) {
    put(folder, "chain.pem", chain, 0o644);
    put(folder, "key.pem", key, 0o600);
}

struct Node {
    folder: TempDir,
    process: Process,
    api: SocketAddr,
}

impl Node {
    fn start(pair: &(String, String)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        put_pair(folder.path(), pair);
        fs::write(folder.path().join("f.toml"), CONFIG).unwrap();
        let mut command = fanfare(folder.path());
        command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--driver", "epoll"]);
        let process = Process::start(command.args(["--shards", "1", "--config", "f.toml"]));
        let api = loop {
            let line = process.err_line();
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if event["fields"]["message"] == "ready" {
                break event["fields"]["api"].as_str().unwrap().parse().unwrap();
            }
        };
        Self { folder, process, api }
    }

    /// curl, which believes the certificate that lies there now.
    fn curl(&self, arguments: &[&str], path: &str) -> Output {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "--cacert", "chain.pem"]).args(arguments);
        command.arg(format!("https://{}{path}", self.api)).current_dir(self.folder.path());
        command.output().expect("curl is installed")
    }

    /// A number of the metrics page, which curl brings without asking who says it.
    fn number(&self, name: &str) -> u64 {
        let page = self.curl(&["-k"], "/metrics").stdout;
        let page = String::from_utf8(page).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < end, "{what}");
            sleep(Duration::from_millis(100));
        }
    }

    fn stop(self) {
        self.process.signal(Signal::TERM);
        let ended = self.process.end();
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
}

/// What a Python program with ssl prints, given the address and the certificate.
fn python(node: &Node, program: &str) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", program, &node.api.port().to_string()]).current_dir(node.folder.path());
    let output = command.output().expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const PYTHON: &str = "
import http.client, socket, ssl, sys
port = int(sys.argv[1])
context = ssl.create_default_context(cafile='chain.pem')
context.set_alpn_protocols(['h2', 'http/1.1'])
http_client = http.client.HTTPSConnection('127.0.0.1', port, context=context)
for nth in range(3):
    http_client.request('POST', '/v1/channels/demo', b'hello %d' % nth)
    answer = http_client.getresponse()
    body = answer.read()
    assert answer.status == 200, body
print(http_client.sock.selected_alpn_protocol(), http_client.sock.version())
for change in (lambda c: c.set_alpn_protocols(['h2']),
               lambda c: setattr(c, 'maximum_version', ssl.TLSVersion.TLSv1_1)):
    context = ssl.create_default_context(cafile='chain.pem')
    change(context)
    try:
        with socket.create_connection(('127.0.0.1', port)) as plain:
            context.wrap_socket(plain, server_hostname='127.0.0.1')
        print('taken')
    except (ssl.SSLError, OSError):
        print('refused')
";

#[test]
fn backends_of_others_speak_tls_with_the_api() {
    let node = Node::start(&pair(2020, 2090));
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let output = node.curl(&[version, &["-d", "hello"]].concat(), "/v1/channels/demo");
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{version:?}: {}", String::from_utf8_lossy(&output.stderr)));
        assert!(answer["offset"].is_number(), "{answer}");
    }
    let large = "x".repeat(60_000);
    let output = node.curl(&["-d", &large], "/v1/channels/large");
    assert!(output.stdout.starts_with(b"{"), "{output:?}");
    assert_eq!(python(&node, PYTHON), "http/1.1 TLSv1.3\nrefused\nrefused\n");
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-brief", "-alpn", "http/1.1", "-CAfile", "chain.pem", "-connect"]);
    openssl.arg(node.api.to_string()).current_dir(node.folder.path()).stdin(Stdio::null());
    let said = openssl.output().expect("openssl is installed");
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains("Verification: OK") && said.contains("TLSv1.3"), "{said}");
    assert_eq!(node.number("fanfare_api_certificate_end_time_seconds"), 3_786_912_000, "2090");
    node.stop();
}

/// Who says nothing, noise or plain HTTP has no place for long.
#[test]
fn what_is_no_handshake_is_over_in_time() {
    let node = Node::start(&pair(2020, 2090));
    let before = node.number("fanfare_api_tls_handshakes_failed_total");
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(node.api).unwrap()).collect();
    for mut socket in silent {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        assert_eq!(said, b"", "nothing was said in time, or there were too many");
    }
    let mut noise = TcpStream::connect(node.api).unwrap();
    noise.write_all(&[22, 3, 1, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    let mut said = Vec::new();
    noise.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = noise.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "an alert, or nothing");
    let mut plain = TcpStream::connect(node.api).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("\"tls_needed\""), "{said}");
    drop(plain);
    node.until("all are counted", |node| {
        node.number("fanfare_api_tls_handshakes_failed_total") == before + 102
    });
    node.stop();
}

#[test]
fn a_renewed_pair_is_served_and_a_bad_one_is_not() {
    let (first, second) = (pair(2020, 2090), pair(2020, 2080));
    let node = Node::start(&first);
    put_pair(node.folder.path(), &second);
    let is_served = |node: &Node| node.curl(&[], "/healthz").stdout == b"ok\n";
    node.until("the new certificate is served", is_served);
    assert_eq!(node.number("fanfare_api_certificate_reloads_total"), 1);
    assert_eq!(node.number("fanfare_api_certificate_end_time_seconds"), 3_471_292_800, "2080");
    // A key of another pair; then one that is not there.
    put(node.folder.path(), "key.pem", &first.1, 0o600);
    let failed = |node: &Node| node.number("fanfare_api_certificate_reloads_failed_total");
    node.until("it was looked at", |node| failed(node) == 1);
    assert!(is_served(&node), "the old pair stays");
    fs::remove_file(node.folder.path().join("key.pem")).unwrap();
    node.until("it was looked at again", |node| failed(node) == 2);
    assert!(is_served(&node));
    put(node.folder.path(), "key.pem", &second.1, 0o600);
    node.until("it is as it was", |node| node.number("fanfare_api_certificate_reloads_total") == 2);
    node.process.signal(Signal::TERM);
    let ended = node.process.end();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.err.contains("keeps its old certificate"), "{ended:#?}");
    assert!(ended.err.contains("is not the key of"), "{ended:#?}");
    assert!(!ended.err.contains("PRIVATE"), "{ended:#?}");
}

#[test]
fn g6_what_cannot_be_served_is_no_start() {
    let (good, other) = (pair(2020, 2090), pair(2020, 2090));
    let refused = |chain: &str, key: &str, mode: u32, word: &str| {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "chain.pem", chain, 0o644);
        put(folder.path(), "key.pem", key, mode);
        fs::write(folder.path().join("f.toml"), CONFIG).unwrap();
        for command in [&["config", "check", "--config", "f.toml"][..], &["--config", "f.toml"]] {
            let ended = run(fanfare(folder.path()).args(command), "");
            ended.expect(78, &["f.toml:1:27: api_tls: ", word]);
            assert!(!ended.err.contains("ready"), "{ended:#?}");
        }
    };
    let (expired, early) = (pair(2001, 2002), pair(2080, 2090));
    refused(&expired.0, &expired.1, 0o600, "has expired");
    refused(&early.0, &early.1, 0o600, "does not count yet");
    refused(&good.0, &other.1, 0o600, "key.pem is not the key of chain.pem");
    refused(&good.0, &good.1, 0o640, "chmod 600 key.pem");
    refused("", &good.1, 0o600, "chain.pem has no certificate");
    refused(&good.1, &good.1, 0o600, "chain.pem has no certificate");
    refused(&good.0, &good.0, 0o600, "key.pem has no private key");
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    refused(damaged, &good.1, 0o600, "chain.pem");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f.toml"), CONFIG).unwrap();
    run(fanfare(folder.path()).args(["--config", "f.toml"]), "")
        .expect(78, &["cannot read chain.pem"]);
}
