//! Certificates of an authority that no other trusts.

use std::path::{Path, PathBuf};
use std::process::Command;

const SETTINGS: &str = "
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[elsewhere]
subjectAltName = DNS:elsewhere.example
extendedKeyUsage = serverAuth
[server]
subjectAltName = IP:127.0.0.1, DNS:localhost
extendedKeyUsage = serverAuth
[client]
extendedKeyUsage = clientAuth
";

/// An authority, and certificates that it gave to a server of this machine, to one elsewhere, and to a client.
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fusebox-ca-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("settings"), SETTINGS.replace("{name}", name)).expect("a file");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config settings";
        openssl(&folder, &format!("req -x509 {key} -extensions ca -days 2 -keyout ca.key -out ca.pem"));
        for whose in ["server", "elsewhere", "client"] {
            openssl(&folder, &format!("req {key} -keyout {whose}.key -out {whose}.request"));
            let extensions = format!("-extfile settings -extensions {whose}");
            let signed_by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2";
            openssl(&folder, &format!("x509 -req -in {whose}.request {signed_by} {extensions} -out {whose}.pem"));
        }
        Self { folder }
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.join(file).to_string_lossy().into_owned()
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(file)).expect("a file")
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn openssl(folder: &Path, command: &str) {
    let done = Command::new("openssl").args(command.split(' ')).current_dir(folder).output();
    let done = done.expect("these tests need `openssl`, which was not found");
    assert!(done.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&done.stderr));
}
