//! Certificates, made on the spot by openssl.

use std::{fs, path::PathBuf, process::Command};

/// Signs whatever is asked for, with the names that the request has.
const CONFIG: &str = "[ca]\ndefault_ca = any\n[any]\ndatabase = index\nrand_serial = yes\nnew_certs_dir = .\n\
                      default_md = sha256\npolicy = names\ncopy_extensions = copy\nunique_subject = no\n\
                      [names]\ncommonName = supplied\n";

/// Half a century, so that no clock is outside.
const VALID: (&str, &str) = ("20200101000000Z", "20491231000000Z");

const EXPIRED: (&str, &str) = ("20200101000000Z", "20200102000000Z");

/// A directory with the authorities `ca` and `other`, and what they vouch for: NAME.pem with NAME.key.
pub struct Certificates(tempfile::TempDir);

// === impl Certificates ===

impl Certificates {
    pub fn new() -> Self {
        let certificates = Self(tempfile::tempdir().unwrap());
        fs::write(certificates.path("config"), CONFIG).unwrap();
        fs::write(certificates.path("index"), "").unwrap();
        for name in ["ca", "other"] {
            let subject = format!("/CN={name}");
            let file = [format!("{name}.key"), format!("{name}.pem")];
            let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", &file[0]];
            let what = ["-x509", "-days", "2", "-subj", &subject, "-out", &file[1]];
            certificates.openssl(&[&["req"], &key[..], &what].concat());
        }
        certificates
    }

    /// Has `authority` vouch for `name`, whose alternative names are such as `DNS:localhost,IP:127.0.0.1`; without them
    /// it has its common name only.
    pub fn issue(&self, authority: &str, name: &str, alternative: &str) {
        self.issue_within(authority, name, alternative, VALID);
    }

    /// The same, of a certificate that ended long ago.
    pub fn issue_expired(&self, authority: &str, name: &str, alternative: &str) {
        self.issue_within(authority, name, alternative, EXPIRED);
    }

    /// The path of a file of the directory.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// The same, as a setting has it.
    pub fn text(&self, file: &str) -> String {
        self.path(file).to_str().unwrap().to_owned()
    }

    /// What a file of the directory holds.
    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn issue_within(&self, authority: &str, name: &str, alternative: &str, (start, end): (&str, &str)) {
        let subject = format!("/CN={name}");
        let names = format!("subjectAltName={alternative}");
        let [key, request, out] = ["key", "csr", "pem"].map(|suffix| format!("{name}.{suffix}"));
        let [ca_key, ca] = ["key", "pem"].map(|suffix| format!("{authority}.{suffix}"));
        let mut args = vec!["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        args.extend(["-keyout", &key, "-out", &request, "-subj", &subject, "-addext", "basicConstraints=CA:FALSE"]);
        if !alternative.is_empty() {
            args.extend(["-addext", &names]);
        }
        self.openssl(&args);
        let signed = ["-cert", &ca, "-keyfile", &ca_key, "-in", &request, "-out", &out, "-notext"];
        let times = ["-startdate", start, "-enddate", end];
        self.openssl(&[&["ca", "-batch", "-config", "config"], &signed[..], &times].concat());
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl").args(args).current_dir(&self.0).output().expect("openssl is installed");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
