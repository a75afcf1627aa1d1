//! The store of `examples/file_store`, put to the test, and then without its guard.
#![cfg(feature = "fleet")]
#![expect(clippy::expect_used, reason = "helpers of tests")]

#[path = "../examples/file_store/store.rs"]
mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fusebox::store::{Cas, CasStore, StoreError, StoreFuture, conformance};
use store::FileStore;

const TTL: Duration = Duration::from_secs(60);

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("fusebox-files-{}-{number}", std::process::id())))
    }

    fn store(&self) -> FileStore {
        FileStore::open(&self.0).expect("a folder")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

async fn number(store: &impl Cas, key: &str) -> (u64, u32) {
    let value = store.get(key).await.expect("reads");
    value.map_or((0, 0), |(revision, value)| (revision, String::from_utf8_lossy(&value).parse().expect("a number")))
}

/// Counts, as often as asked, in the presence of others who do.
async fn count(store: &impl Cas, key: &str, times: u32) {
    for _ in 0..times {
        loop {
            let (revision, so_far) = number(store, key).await;
            let more = Bytes::from((so_far + 1).to_string());
            if store.put(key, revision, more, TTL).await.expect("writes").is_some() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let folder = Folder::new();
    let passed = conformance(Arc::new(CasStore::new(folder.store()))).await.expect("conforms");
    assert!(!passed.combines && !passed.pushes && !passed.lists, "{passed:?}");
}

/// The store with its check taken out: it writes over whatever is there.
#[derive(Debug)]
struct Unchecked(FileStore);

impl Cas for Unchecked {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<(u64, Bytes)>> {
        self.0.get(key)
    }

    fn put<'a>(&'a self, key: &'a str, _revision: u64, value: Bytes, ttl: Duration) -> StoreFuture<'a, Option<u64>> {
        Box::pin(async move {
            loop {
                let newest = self.0.get(key).await?.map_or(0, |(revision, _)| revision);
                if let Some(revision) = self.0.put(key, newest, value.clone(), ttl).await? {
                    return Ok(Some(revision));
                }
            }
        })
    }
}

#[tokio::test]
async fn without_its_revision_check_the_suite_finds_it_out() {
    let folder = Folder::new();
    let violation = conformance(Arc::new(CasStore::new(Unchecked(folder.store())))).await.expect_err("a mistake");
    assert_eq!(violation.check(), "of many writers at once one is applied", "{violation}");
}

#[tokio::test]
async fn handles_on_one_folder_lose_no_write() {
    let folder = Folder::new();
    let (one, two) = (folder.store(), folder.store());
    tokio::join!(count(&one, "a", 100), count(&two, "a", 100), count(&two, "b", 10));
    assert_eq!((number(&one, "a").await.1, number(&one, "b").await.1), (200, 10));
}

const SHARED: &str = "FUSEBOX_TEST_FOLDER";

/// Is started by itself again, as each of the processes.
#[tokio::test]
async fn processes_on_one_folder_lose_no_write() {
    if let Some(folder) = std::env::var_os(SHARED) {
        return count(&FileStore::open(folder).expect("a folder"), "a", 50).await;
    }
    let folder = Folder::new();
    let processes = [(); 4].map(|()| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "processes_on_one_folder_lose_no_write"]).env(SHARED, &folder.0);
        command.stdout(Stdio::null()).spawn()
    });
    for process in processes {
        assert!(process.and_then(|mut process| process.wait()).expect("its end").success());
    }
    assert_eq!(number(&folder.store(), "a").await.1, 200);
}

#[tokio::test]
async fn a_reader_never_sees_half_a_value() {
    let folder = Folder::new();
    let (store, reader) = (folder.store(), folder.store());
    let writing = tokio::spawn(async move {
        let mut revision = 0;
        for letter in (b'a'..=b'z').cycle().take(200) {
            let value = Bytes::from(vec![letter; 64 * 1024]);
            revision = store.put("a", revision, value, TTL).await.expect("writes").expect("alone");
        }
    });
    let mut seen = 0;
    while !writing.is_finished() {
        if let Some((_, value)) = reader.get("a").await.expect("reads") {
            assert!(value.len() == 64 * 1024 && value.iter().all(|letter| *letter == value[0]), "torn");
            seen += 1;
        }
    }
    writing.await.expect("ends well");
    assert!(seen > 10, "it read {seen} times while the other wrote");
}

#[tokio::test]
async fn what_a_writer_left_who_died_is_in_nobodys_way() {
    let folder = Folder::new();
    let store = folder.store();
    count(&store, "a", 1).await;
    fs::write(folder.0.join("a.new"), "half a val").expect("a file");
    assert_eq!(number(&store, "a").await.1, 1);
    count(&store, "a", 1).await;
    assert_eq!(number(&store, "a").await.1, 2);
}

#[tokio::test]
async fn a_deleted_file_does_not_bring_revisions_back() {
    let folder = Folder::new();
    let store = folder.store();
    let first = store.put("a", 0, Bytes::from("1"), TTL).await.expect("writes").expect("first");
    fs::remove_file(folder.0.join("a.record")).expect("there");
    let again = store.put("a", 0, Bytes::from("2"), TTL).await.expect("writes").expect("first again");
    assert!(again > first, "{again} after {first}");
    assert_eq!(store.put("a", first, Bytes::from("3"), TTL).await.expect("an answer"), None, "from before the loss");
}

#[tokio::test]
async fn keys_stay_in_the_folder() {
    let folder = Folder::new();
    let below = folder.0.join("below");
    let store = FileStore::open(&below).expect("a folder");
    let keys = ["../a", "/etc/a", "a/b", "..", ".", "", "a\0b", "a\nb"];
    for key in keys {
        count(&store, key, 1).await;
    }
    for key in keys {
        assert_eq!(number(&store, key).await.1, 1, "{key:?}");
    }
    let records = |folder: &Path| {
        let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".record")).count()
    };
    assert_eq!((records(&folder.0), records(&below)), (0, keys.len()));
}

#[tokio::test]
async fn what_is_no_record_is_refused_and_stays() {
    let folder = Folder::new();
    let store = folder.store();
    fs::write(folder.0.join("a.record"), "short").expect("a file");
    let error = store.get("a").await.expect_err("no record");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(store.put("a", 0, Bytes::from("1"), TTL).await.is_err());
    assert_eq!(fs::read(folder.0.join("a.record")).expect("there"), b"short");
}
