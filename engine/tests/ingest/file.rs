//! D2 and D3: the socket's file, its directory and its mode.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fanfare::ingest::{Handle, IngestConfig};
use fanfare::metrics::Metrics;

use crate::node::{settings, start};
use crate::stand_in::StandIn;

struct SocketFolder {
    directory: tempfile::TempDir,
    path: PathBuf,
    sequencer: StandIn,
}

impl SocketFolder {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f.sock");
        Self { directory, path, sequencer: StandIn::start(4) }
    }

    fn start(&self, mode: u32) -> Result<Handle, (u8, String)> {
        self.start_at(&self.path, mode)
    }

    fn start_at(&self, path: &Path, mode: u32) -> Result<Handle, (u8, String)> {
        let settings = IngestConfig { mode, ..settings(path.into()) };
        start(settings, &self.sequencer, &Arc::new(Metrics::new(1)))
            .map_err(|error| (error.exit_code(), error.to_string()))
    }

    fn refused(&self, exit_code: u8, part: &str) {
        let (code, message) = self.start(0o600).expect_err("no start");
        assert_eq!(code, exit_code, "{message}");
        assert!(message.contains(part), "{message}");
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn mode_of(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path).unwrap();
    assert!(metadata.file_type().is_socket());
    metadata.permissions().mode() & 0o777
}

#[test]
fn the_mode_is_what_was_asked_and_the_file_goes() {
    let place = SocketFolder::new();
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let handle = place.start(mode).unwrap();
        assert_eq!(mode_of(&place.path), mode, "{mode:o}");
        assert_eq!(place.files(), ["f.sock"]);
        UnixStream::connect(&place.path).unwrap();
        handle.stop();
        assert_eq!(place.files(), [""; 0]);
    }
}

#[test]
fn a_live_socket_is_somebodys() {
    let place = SocketFolder::new();
    let first = place.start(0o600).unwrap();
    place.refused(69, "another process listens");
    UnixStream::connect(&place.path).unwrap();
    first.stop();
    // A stranger's whose backlog is full is live too, and asking must not wait.
    let _listener = UnixListener::bind(&place.path).unwrap();
    let mut full = Vec::new();
    for _ in 0..5_000 {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        );
        let Ok(socket) = socket else { break };
        let address = rustix::net::SocketAddrUnix::new(&place.path).unwrap();
        if rustix::net::connect(&socket, &address).is_err() {
            break;
        }
        full.push(socket);
        if full.len() > 900 {
            break; // few descriptors here: a live socket is refused either way
        }
    }
    place.refused(69, "another process listens");
}

#[test]
fn a_stale_socket_is_replaced() {
    let place = SocketFolder::new();
    drop(UnixListener::bind(&place.path).unwrap());
    assert!(UnixStream::connect(&place.path).is_err());
    let handle = place.start(0o600).unwrap();
    UnixStream::connect(&place.path).unwrap();
    assert_eq!(place.files(), ["f.sock"]);
    handle.stop();
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let place = SocketFolder::new();
    fs::write(&place.path, "precious").unwrap();
    place.refused(78, "is no socket");
    assert_eq!(fs::read_to_string(&place.path).unwrap(), "precious");
    fs::remove_file(&place.path).unwrap();

    // Not even a link to a stale socket: it may lead anywhere.
    let other = place.directory.path().join("other.sock");
    drop(UnixListener::bind(&other).unwrap());
    symlink(&other, &place.path).unwrap();
    place.refused(78, "is no socket");
    assert!(fs::symlink_metadata(&place.path).unwrap().is_symlink());
    fs::remove_file(&place.path).unwrap();

    fs::create_dir(&place.path).unwrap();
    place.refused(78, "is no socket");
}

#[test]
fn directories_where_anyone_may_rename() {
    let place = SocketFolder::new();
    let set = |mode| {
        fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o777);
    place.refused(78, "sticky bit");
    assert_eq!(place.files(), [""; 0]);
    set(0o1777);
    place.start(0o600).unwrap().stop();
    set(0o700);
}

#[test]
fn paths_that_cannot_be() {
    let place = SocketFolder::new();
    let cases = [
        (place.directory.path().join("none/f.sock"), 78, "Make it"),
        (place.directory.path().join("x".repeat(100)), 78, "too long"),
        (PathBuf::from("/"), 78, "no path of a file"),
    ];
    for (path, exit_code, part) in cases {
        let (code, message) = place.start_at(&path, 0o600).expect_err("no start");
        assert_eq!(code, exit_code, "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn only_our_own_file_is_removed() {
    let place = SocketFolder::new();
    let handle = place.start(0o600).unwrap();
    fs::remove_file(&place.path).unwrap();
    let _theirs = UnixListener::bind(&place.path).unwrap();
    handle.stop();
    UnixStream::connect(&place.path).unwrap();
}
