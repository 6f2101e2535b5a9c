//! Secrets and the files that hold them: read only where nobody else could have.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// No key and no configuration is longer; a mistaken path (a log, a device) ends here.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Shorter keys can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// A small file as text, with what its mode says about who else reads it.
pub(crate) struct SmallFile {
    pub(crate) bytes: Vec<u8>,
    metadata: Metadata,
}

impl SmallFile {
    /// Reads a file; the error is a sentence that names it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let fault =
            |what: &dyn std::fmt::Display| format!("cannot read {}: {what}", path.display());
        // Looked at before it is opened: opening a FIFO would wait for a writer.
        let metadata = fs::metadata(path).map_err(|error| fault(&error))?;
        if !metadata.is_file() {
            return Err(fault(&"it is not a regular file"));
        }
        let file = File::open(path).map_err(|error| fault(&error))?;
        // Of what was opened: the path may have been exchanged in between.
        let metadata = file.metadata().map_err(|error| fault(&error))?;
        let mut bytes = Vec::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| fault(&error))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(fault(&"it is larger than 1MiB"));
        }
        Ok(Self { bytes, metadata })
    }

    /// Refuses a file that others than its owner may use, because it holds a secret.
    pub(crate) fn check_private(&self, path: &Path) -> Result<(), String> {
        let mode = self.metadata.mode() & 0o7777;
        if mode & 0o077 == 0 {
            return Ok(());
        }
        Err(format!(
            "{path} holds a secret and has mode {mode:04o}, so that others than its owner can get \
             at it: chmod 600 {path}",
            path = path.display()
        ))
    }
}

/// The secret that a file holds, without the end of its last line.
pub(super) fn bytes_of_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = SmallFile::read(path)?;
    file.check_private(path)?;
    let mut bytes = file.bytes;
    while let Some(b'\r' | b'\n') = bytes.last() {
        bytes.pop();
    }
    Ok(bytes)
}

/// The key that a file holds: one line.
pub(super) fn key_of_file(path: &Path) -> Result<String, String> {
    String::from_utf8(bytes_of_file(path)?)
        .map_err(|_| format!("{} is not text, so it is no API key", path.display()))
}

/// Refuses a key that no client could send or that anyone could guess. The sentence never holds
/// the key.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    // The characters of a bearer token (RFC 6750, section 2.1: b64token).
    let sendable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if key.is_empty() {
        return Err(
            "the API key is empty: give one, or take the setting away to ask for none".into()
        );
    }
    if !key.bytes().all(sendable) {
        return Err("the API key has characters that a Bearer token cannot have: use letters, \
                    digits and -._~+/= (`openssl rand -hex 32` makes one)"
            .into());
    }
    if key.len() < KEY_BYTES_MIN {
        return Err(format!(
            "the API key has {} characters, so that it can be guessed: use at least \
             {KEY_BYTES_MIN} (`openssl rand -hex 32` makes 64)",
            key.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_may_read_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "abc\n").unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let key = key_of_file(&path);
            assert_eq!(key.is_ok(), good, "{mode:o}: {key:?}");
            match key {
                Ok(key) => assert_eq!(key, "abc"),
                Err(what) => assert!(what.contains("chmod 600") && !what.contains("abc"), "{what}"),
            }
        }
    }

    #[test]
    fn what_is_no_small_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(key_of_file(folder.path()).unwrap_err().contains("not a regular file"));
        assert!(key_of_file(&folder.path().join("none")).unwrap_err().contains("none"));
        assert!(key_of_file(Path::new("/dev/zero")).unwrap_err().contains("not a regular file"));
        let large = folder.path().join("large");
        fs::write(&large, vec![b'x'; (1 << 20) + 1]).unwrap();
        assert!(key_of_file(&large).unwrap_err().contains("larger"));
    }

    #[test]
    fn keys_can_be_sent_and_not_guessed() {
        assert_eq!(check_key("0123456789abcdef"), Ok(()));
        for key in ["", "dev", "0123456789abcde", "0123456789abcdef g", "0123456789abcdef\n", "ä"]
        {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        let what = check_key("hunter2hunter2").unwrap_err();
        assert!(what.contains("14 characters") && !what.contains("hunter"), "{what}");
    }
}
