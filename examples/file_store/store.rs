//! All that there is to write for a store of one's own: `get`, and `put` if the revision is still that.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use fusebox::store::{Cas, Key, StoreError, StoreFuture, Version};

/// A folder with one file for each key, which the processes of one machine share.
///
/// A file begins with its revision, eight bytes; the rest is the value. Files stay longer than asked, which they may:
/// whoever minds deletes those that nobody wrote for a day.
#[derive(Clone, Debug)]
pub(crate) struct FileStore {
    folder: PathBuf,
}

impl FileStore {
    /// Opens a folder, or makes one.
    pub(crate) fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Names of breakers may come from requests. `Key` leaves nothing in them that leads out of the folder.
    fn files(&self, key: &str) -> Files {
        let [record, new, lock] =
            ["record", "new", "lock"].map(|kind| self.folder.join(format!("{}.{kind}", Key::new(key))));
        Files { record, new, lock }
    }
}

impl Cas for FileStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<(u64, Bytes)>> {
        let files = self.files(key);
        Box::pin(off_the_runtime(move || files.read()))
    }

    fn put<'a>(&'a self, key: &'a str, revision: u64, value: Bytes, _ttl: Duration) -> StoreFuture<'a, Option<u64>> {
        let files = self.files(key);
        // Revisions are times, not counts: where a file was deleted, a count would begin anew, and a writer who still
        // remembers the old `1` would write over the new one.
        let now = self.now();
        Box::pin(off_the_runtime(move || {
            let _lock = files.lock()?;
            let newest = files.read()?.map_or(0, |(revision, _)| revision);
            if newest != revision {
                return Ok(None);
            }
            let next = Version(newest).next(now).0;
            files.write(next, &value)?;
            Ok(Some(next))
        }))
    }
}

/// What there is of a key.
struct Files {
    record: PathBuf,
    /// The next record, as long as it is not complete.
    new: PathBuf,
    /// Not the record itself: each write puts another file in its place.
    lock: PathBuf,
}

impl Files {
    /// Waits until no other process writes this key. Lasts until it is dropped, or the process dies.
    fn lock(&self) -> io::Result<File> {
        let file = File::options().create(true).truncate(false).write(true).open(&self.lock)?;
        file.lock()?;
        Ok(file)
    }

    /// Needs no lock: what is there is always whole.
    fn read(&self) -> io::Result<Option<(u64, Bytes)>> {
        let mut bytes = match fs::read(&self.record) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(revision) = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("{} is no record", self.record.display())));
        };
        Ok(Some((revision, bytes.split_off(size_of::<u64>()))))
    }

    fn write(&self, revision: u64, value: &[u8]) -> io::Result<()> {
        let mut file = File::create(&self.new)?;
        file.write_all(&revision.to_le_bytes())?;
        file.write_all(value)?;
        // Before it gets its name: after a power cut there would otherwise be a record, and nothing in it.
        file.sync_all()?;
        fs::rename(&self.new, &self.record)
    }
}

/// Files and locks block, and a runtime's threads must not. If the caller gives up, the work goes on all the same: as with
/// a server, a write that nobody waits for any more may still take place.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|ended| Err(io::Error::other(ended)));
    done.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::StorageFull
        | ErrorKind::InvalidData => StoreError::refused(error),
        _ => StoreError::no_answer(error),
    })
}
