//! A store of your own: `cargo run --example file_store --features fleet`.
//!
//! Whatever can put a value if its revision is still the one you know can hold what a fleet shares: DynamoDB, etcd, a
//! table, and also a folder of files. `store.rs` is all it takes; `CasStore` makes a store of it, and the suite that comes
//! with the crate tells whether it is a good one.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::BoxError;
use fusebox::store::{self as fusebox_store, CasStore, Commit, Committed, Store, StoreError, Stored, Summary};

use store::FileStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let folder = std::env::temp_dir().join(format!("fusebox-file-store-{}", std::process::id()));
    let done = examine(&FileStore::open(&folder)?).await;
    std::fs::remove_dir_all(&folder)?;
    done
}

async fn examine(files: &FileStore) -> Result<(), BoxError> {
    println!("The contract, check by check, takes some seconds:");
    let passed = fusebox_store::conformance(Arc::new(CasStore::new(files.clone()))).await?;
    let yes_no = |yes| if yes { "yes" } else { "no" };
    println!("  {} checks passed", passed.checks);
    println!("  queues what loses a race:  {}", yes_no(passed.combines));
    println!("  tells watchers of changes: {}", yes_no(passed.pushes));
    println!("  lists its keys:            {}", yes_no(passed.lists));

    println!("\nTwo handles on the folder, as two processes would have them:");
    let (one, two): (Arc<dyn Store>, Arc<dyn Store>) =
        (Arc::new(CasStore::new(files.clone())), Arc::new(CasStore::new(files.clone())));
    let nothing = newest(&one).await?;
    put("one", &one, &nothing, "open").await?;
    let open = newest(&two).await?;
    println!("  two reads `{}`", text(&open));
    put("two", &two, &open, "half-open").await?;
    put("one", &one, &open, "closed").await?;
    Ok(())
}

async fn newest(store: &Arc<dyn Store>) -> Result<Stored, StoreError> {
    Ok(store.load(&["payments"]).await?.pop().unwrap_or_default())
}

fn text(stored: &Stored) -> String {
    String::from_utf8_lossy(&stored.record).into_owned()
}

/// Writes a record over the one that it was made from.
async fn put(who: &str, store: &Arc<dyn Store>, over: &Stored, record: &'static str) -> Result<(), StoreError> {
    let commit = Commit::new(over.version, Bytes::from(record), Summary::closed(1), Duration::from_secs(3600));
    let became = match store.commit("payments", commit).await? {
        Committed::Applied { .. } => "applied".to_owned(),
        Committed::Conflict(newest) => format!("conflict, the newest is `{}`", text(&newest)),
        other => format!("{other:?}"),
    };
    println!("  {who} writes `{record}` over `{}`: {became}", text(over));
    Ok(())
}
