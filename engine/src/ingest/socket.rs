//! The socket file: who may see it, whose place it takes, and that only ours is ever removed.
//!
//! It is made in a directory that only we may enter and renamed into its place from there, so that
//! nobody meets it before it listens with the right mode. (A umask would do the same, but belongs
//! to the whole process: files of other threads would be made with it too.) A live socket is
//! somebody's and is never taken; a stale one is what a process that died has left, and it is
//! replaced.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::error::StartError;

/// Longest path of a Unix socket that the kernel takes, less its closing zero (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// What the socket is called until it is in its place.
const STAGED: &str = "s";

/// A listening socket and the file that names it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: whether the file is still ours.
    identity: (u64, u64),
}

impl Bound {
    /// Removes the file, unless another has taken its place meanwhile.
    pub(super) fn remove(&self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| identity(&m) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the socket's file stays behind");
        }
    }
}

/// Whether `bind` would find a place at `path`; nothing is made.
///
/// # Errors
///
/// What `bind` would say.
pub fn judge(path: &Path) -> Result<(), StartError> {
    staging(path)?;
    let directory = judge_directory(path)?;
    judge_place(path)?;
    access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        StartError::Unavailable(format!(
            "the Unix socket cannot be made in {}: {error}. Choose another path with --socket, or \
             see who owns that directory",
            directory.display()
        ))
    })
}

/// Listens at `path` with exactly `mode`.
pub(super) fn bind(path: &Path, mode: u32) -> Result<Bound, StartError> {
    let shown = path.display();
    let staging = staging(path)?;
    judge_directory(path)?;
    let replaces = judge_place(path)?;
    let failed = |error: io::Error| {
        StartError::Unavailable(format!(
            "the Unix socket {shown} could not be made: {error}. Choose another path with \
             --socket, or see who owns its directory"
        ))
    };
    fs::DirBuilder::new().mode(0o700).create(&staging).map_err(failed)?;
    let made = make(&staging.join(STAGED), path, mode, replaces);
    let _ = fs::remove_file(staging.join(STAGED)); // it is there only when something failed
    if let Err(error) = fs::remove_dir(&staging) {
        tracing::warn!(%error, path = %staging.display(), "an empty directory stays behind");
    }
    made.map_err(failed)
}

fn make(staged: &Path, path: &Path, mode: u32, replaces: bool) -> io::Result<Bound> {
    let listener = UnixListener::bind(staged)?;
    fs::set_permissions(staged, fs::Permissions::from_mode(mode))?;
    let identity = check(staged, mode)?;
    listener.set_nonblocking(true)?;
    place(staged, path, replaces)?;
    Ok(Bound { listener, path: path.into(), identity })
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// A directory beside `path`, so that the rename stays on one file system, under a name that nobody
/// could have taken on purpose.
fn staging(path: &Path) -> Result<PathBuf, StartError> {
    let shown = path.display();
    let Some(name) = path.file_name() else {
        let message = format!("\"{shown}\" is no path of a file: name the socket's file");
        return Err(StartError::Config(message));
    };
    let random = getrandom::u32().map_err(|error| {
        StartError::Unavailable(format!("the kernel gives no random numbers: {error}"))
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{random:08x}"));
    let staging = path.with_file_name(hidden);
    let bytes = staging.join(STAGED).as_os_str().as_bytes().len();
    if bytes > PATH_BYTES_MAX {
        return Err(StartError::Config(format!(
            "the path of the Unix socket {shown} is {} bytes too long: the kernel takes \
             {PATH_BYTES_MAX}, less those of the directory that it is made in",
            bytes - PATH_BYTES_MAX
        )));
    }
    Ok(staging)
}

/// Where anyone may rename anything, anyone may put a socket of theirs in the place of ours.
fn judge_directory(path: &Path) -> Result<&Path, StartError> {
    const WORLD_WRITABLE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let shown = directory.display();
    let metadata = fs::metadata(directory).map_err(|error| {
        StartError::Config(format!(
            "the directory {shown} of the Unix socket cannot be used: {error}. Make it, or choose \
             another with --socket"
        ))
    })?;
    let mode = metadata.mode();
    if mode & WORLD_WRITABLE != 0 && mode & STICKY == 0 {
        return Err(StartError::Config(format!(
            "everyone may replace files in {shown}, so a Unix socket there could be anyone's: \
             choose a directory of your own, or set its sticky bit (chmod +t)"
        )));
    }
    Ok(directory)
}

/// Whether there is a stale socket to be replaced; anything else that is there is not ours to take.
fn judge_place(path: &Path) -> Result<bool, StartError> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StartError::Config(format!(
            "the Unix socket {shown} cannot be looked at: {error}. Choose another path"
        ))),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(StartError::Config(format!(
            "{shown} is there already and is no socket: it is left alone. Remove it, or choose \
             another path with --socket"
        ))),
        Ok(_) => match probe(path) {
            Errno::CONNREFUSED => Ok(true),
            // It vanished since.
            Errno::NOENT => Ok(false),
            _ => Err(StartError::Unavailable(format!(
                "another process listens on the Unix socket {shown}: stop it, or choose another \
                 path with --socket"
            ))),
        },
    }
}

/// How a connection attempt ends, without waiting: a full backlog (`EAGAIN`) is a live socket too.
fn probe(path: &Path) -> Errno {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let attempt = || {
        let address = SocketAddrUnix::new(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address)
    };
    attempt().err().unwrap_or(Errno::ISCONN)
}

/// The file as it is, whatever the file system made of our wish.
fn check(path: &Path, mode: u32) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.file_type().is_socket() || metadata.mode() & 0o777 != mode {
        let message = format!("its mode is {:o} instead of {mode:o}", metadata.mode() & 0o777);
        return Err(io::Error::other(message));
    }
    Ok(identity(&metadata))
}

fn place(from: &Path, to: &Path, replaces: bool) -> io::Result<()> {
    if replaces {
        return fs::rename(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that does not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        result => Ok(result?),
    }
}
