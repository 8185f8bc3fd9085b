//! What files hold, told by as little reading as can be.
//!
//! A file is read again only when stat(2), through symbolic links, shows
//! another one than last time. A file that was changed shortly before it was
//! read could be changed once more without showing it, the clock of file
//! systems being coarse; so it is read again until it is old enough (git's
//! index does the same with what it calls racy).

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit::limits;
use aws_lc_rs::digest::{Context, Digest, SHA256};
use zeroize::Zeroizing;

/// What each of some paths led to, at one moment.
pub(super) type View = BTreeMap<PathBuf, [u8; 32]>;

/// Looks at files again and again, and remembers what it need not read again.
#[derive(Debug, Default)]
pub(super) struct Look {
    known: HashMap<PathBuf, Known>,
}

#[derive(Debug)]
struct Known {
    stat: Stat,
    /// Whether the stat is old enough for a change to show in it.
    settled: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File([u8; 32]),
    /// The names of what is in a folder, sorted.
    Folder(Vec<PathBuf>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Look {
    /// What these paths lead to. Of a folder, everything directly in it that is
    /// not hidden.
    pub(super) fn at<'a>(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) -> View {
        let mut turn = Turn {
            before: std::mem::take(&mut self.known),
            now: HashMap::new(),
            buffer: Zeroizing::new(Vec::new()),
        };
        let view = paths
            .into_iter()
            .map(|path| (path.clone(), finished(turn.path(path))))
            .collect();
        self.known = turn.now;
        view
    }
}

/// One look.
struct Turn {
    before: HashMap<PathBuf, Known>,
    now: HashMap<PathBuf, Known>,
    /// Holds private keys for a moment.
    buffer: Zeroizing<Vec<u8>>,
}

impl Turn {
    fn path(&mut self, path: &Path) -> Context {
        let mut digest = Context::new(&SHA256);
        match self.visit(path) {
            Ok(()) => {}
            Err(error) => {
                digest.update(b"error");
                digest.update(format!("{:?}", error.kind()).as_bytes());
                return digest;
            }
        }
        let names = match self.now.get(path).map(|known| &known.content) {
            Some(Content::File(content)) => {
                digest.update(b"file");
                digest.update(content);
                return digest;
            }
            Some(Content::Folder(names)) => names.clone(),
            None => Vec::new(),
        };
        digest.update(b"folder");
        for name in names {
            digest.update(name.as_os_str().as_bytes());
            let file = path.join(&name);
            // A folder in a folder is not looked into.
            match self.visit(&file) {
                Ok(()) => {
                    if let Some(Content::File(content)) =
                        self.now.get(&file).map(|known| &known.content)
                    {
                        digest.update(b"\0file");
                        digest.update(content);
                    }
                }
                Err(_) => digest.update(b"\0error"),
            }
        }
        digest
    }

    /// Sees to it that what is known of a path is true.
    fn visit(&mut self, path: &Path) -> io::Result<()> {
        if self.now.contains_key(path) {
            return Ok(());
        }
        let begun = SystemTime::now();
        let found = fs::metadata(path)?;
        let stat = Stat::of(&found);
        let known = match self.before.remove(path) {
            Some(known) if known.settled && known.stat == stat => known,
            _ => self.read(path, &found, begun)?,
        };
        self.now.insert(path.to_owned(), known);
        Ok(())
    }

    fn read(&mut self, path: &Path, found: &Metadata, begun: SystemTime) -> io::Result<Known> {
        if found.is_dir() {
            let content = Content::Folder(names(path)?);
            return Ok(Known::new(found, begun, content));
        }
        if !found.is_file() {
            // Opening a pipe would wait for its other end.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut file = File::open(path)?;
        // It may be another one by now.
        let found = file.metadata()?;
        self.buffer.resize(BUFFER, 0);
        let mut digest = Context::new(&SHA256);
        let mut left = limits::FILE_SIZE_MAX + 1;
        while left > 0 {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => {
                    digest.update(&self.buffer[..n]);
                    left = left.saturating_sub(n as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Known::new(&found, begun, Content::File(finished(digest))))
    }
}

const BUFFER: usize = 64 * 1024;

impl Known {
    fn new(found: &Metadata, begun: SystemTime, content: Content) -> Self {
        let stat = Stat::of(found);
        Self {
            settled: stat.is_settled(begun),
            stat,
            content,
        }
    }
}

impl Stat {
    fn of(found: &Metadata) -> Self {
        Self {
            dev: found.dev(),
            ino: found.ino(),
            size: found.size(),
            mtime: (found.mtime(), found.mtime_nsec()),
            ctime: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether a change after `begun` would have another time. A time that lies
    /// in the future shows nothing.
    fn is_settled(&self, begun: SystemTime) -> bool {
        let Ok(seconds) = u64::try_from(self.ctime.0.max(self.mtime.0)) else {
            return true;
        };
        let changed = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        changed.is_some_and(|changed| changed + limits::FILE_CLOCK_STEP < begun)
    }
}

fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)?.take(limits::WATCH_FOLDER_MAX) {
        let name = entry?.file_name();
        if !name.as_bytes().starts_with(b".") {
            names.push(PathBuf::from(name));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn finished(digest: Context) -> [u8; 32] {
    let digest: Digest = digest.finish();
    let mut bytes = [0; 32];
    // SHA-256 gives 32.
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Instant;

    use super::*;

    fn differ(look: &mut Look, paths: &[PathBuf], what: &str, change: impl FnOnce()) {
        let before = look.at(paths);
        assert_eq!(look.at(paths), before, "before: {what}");
        change();
        let after = look.at(paths);
        assert_ne!(after, before, "{what}");
        assert_eq!(look.at(paths), after, "after: {what}");
        assert_eq!(Look::default().at(paths), after, "read anew: {what}");
    }

    #[test]
    fn a_change_of_content_is_seen_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (file, missing) = (at("file"), at("missing"));
        fs::write(&file, "one").unwrap();
        let paths = [file.clone(), missing.clone()];
        let look = &mut Look::default();
        // Of one length, and within one tick of any clock.
        differ(look, &paths, "content", || fs::write(&file, "two").unwrap());
        differ(look, &paths, "content, at once again", || {
            fs::write(&file, "six").unwrap();
        });
        differ(look, &paths, "a file appears", || {
            fs::write(&missing, "").unwrap();
        });
        differ(look, &paths, "a file goes", || {
            fs::remove_file(&missing).unwrap();
        });
        let before = look.at(&paths);
        fs::write(at("other"), "six").unwrap();
        fs::rename(at("other"), &file).unwrap();
        assert_eq!(look.at(&paths), before, "another file with the same in it");
        fs::write(&file, "six").unwrap();
        assert_eq!(look.at(&paths), before, "written anew");
    }

    #[test]
    fn a_change_that_keeps_the_time_of_modification_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "one").unwrap();
        let old = SystemTime::now() - Duration::from_secs(1000);
        let set = || {
            File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .set_modified(old)
                .unwrap()
        };
        set();
        let paths = [file.clone()];
        differ(&mut Look::default(), &paths, "by ctime", || {
            fs::write(&file, "two").unwrap();
            set();
        });
    }

    #[test]
    fn a_folder_is_what_is_in_it_and_links_are_followed() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        // As Kubernetes mounts a secret.
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("tls.crt"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/tls.crt", at("tls.crt")).unwrap();
        let swap = |to: &str| {
            symlink(to, at("..new")).unwrap();
            fs::rename(at("..new"), at("..data")).unwrap();
        };
        let look = &mut Look::default();
        differ(look, &[at("tls.crt")], "the file by a swap", || swap("..2"));
        differ(look, &[base.path().into()], "the folder by a swap", || {
            swap("..1")
        });
        differ(look, &[base.path().into()], "a new file", || {
            fs::write(at("new.pem"), "new").unwrap();
        });
        differ(look, &[base.path().into()], "another name", || {
            fs::rename(at("new.pem"), at("old.pem")).unwrap();
        });
        differ(look, &[base.path().into()], "content", || {
            fs::write(at("old.pem"), "NEW").unwrap();
        });
        let before = look.at(&[base.path().into()]);
        fs::write(at(".hidden"), "x").unwrap();
        assert_eq!(look.at(&[base.path().into()]), before);
    }

    #[test]
    fn what_is_old_is_not_read_again() {
        let stat = |ctime| Stat {
            dev: 0,
            ino: 0,
            size: 0,
            mtime: (0, 0),
            ctime: (ctime, 0),
        };
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let step = i64::try_from(limits::FILE_CLOCK_STEP.as_secs()).unwrap();
        for (ctime, settled) in [
            (0, true),
            (999 - step, true),
            (1000 - step, false),
            (2000, false),
        ] {
            assert_eq!(stat(ctime).is_settled(now), settled, "{ctime}");
        }
    }

    #[test]
    fn what_may_have_changed_unseen_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "one").unwrap();
        let paths = [file.clone()];
        let mut look = Look::default();
        let right = look.at(&paths);
        // As if it had changed after it was read, and shown it by nothing.
        let known = look.known.get_mut(&file).unwrap();
        assert!(!known.settled);
        known.content = Content::File([0; 32]);
        assert_eq!(look.at(&paths), right);
        // Once it is old, it is not.
        let known = look.known.get_mut(&file).unwrap();
        known.settled = true;
        known.content = Content::File([0; 32]);
        assert_ne!(look.at(&paths), right);
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        Look::default().at(&[pipe]);
    }

    /// `cargo test --release --bin adit -- --ignored --nocapture ten_thousand`
    #[test]
    #[ignore = "a measurement"]
    fn ten_thousand_files() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..10_000 {
            fs::write(folder.path().join(format!("{n}.pem")), [b'x'; 1500]).unwrap();
        }
        let paths = [folder.path().to_owned()];
        let mut look = Look::default();
        let mut settled = false;
        while !settled {
            let begun = Instant::now();
            look.at(&paths);
            settled = look.known.values().all(|known| known.settled);
            println!("settled {settled}: {:?}", begun.elapsed());
            std::thread::sleep(Duration::from_millis(500));
        }
        for _ in 0..5 {
            let begun = Instant::now();
            look.at(&paths);
            println!("unchanged: {:?}", begun.elapsed());
        }
    }
}
