//! Theorem: by TLS the same arrives; the sink's certificate is held against the authorities that are trusted, and ours is
//! shown to a sink that asks for it. A sink that is not trusted gets nothing.

#![cfg(unix)]

use testing::collector::{self, tonic};

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use collector::{Collector, takes_all};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// An authority, and in a folder its certificate, `localhost`'s, and ours, each with its key.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, pem: String| std::fs::write(folder.path().join(name), pem).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        write("ca.pem", authority.pem());
        for name in ["localhost", "client"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            write(&format!("{name}.pem"), params.signed_by(&key, &authority).unwrap().pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Authority { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.file(name)).unwrap()
    }

    /// Collectors by HTTP and by gRPC that show this authority's certificate, and may ask for one of it.
    fn collectors(&self, asks: bool) -> [(&'static str, Collector); 2] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate("ca.pem")).unwrap();
        let builder = match asks {
            true => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
            false => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::from_pem_file(self.file("localhost.key")).unwrap();
        let http = builder.with_single_cert(vec![self.certificate("localhost.pem")], key).unwrap();

        let identity = tonic::transport::Identity::from_pem(self.read("localhost.pem"), self.read("localhost.key"));
        let mut grpc = tonic::transport::ServerTlsConfig::new().identity(identity);
        if asks {
            grpc = grpc.client_ca_root(tonic::transport::Certificate::from_pem(self.read("ca.pem")));
        }
        [
            ("http/protobuf", Collector::http_with(takes_all(), Some(Arc::new(http)))),
            ("grpc", Collector::grpc_with(takes_all(), Some(grpc))),
        ]
    }
}

/// Runs a program that sends to the collector with these settings.
fn run(protocol: &str, url: &str, settings: &[(&str, PathBuf)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/modules/manual.wat");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    command.args(["run", "--require-export", "--flush-timeout", "20s", "--max-spans", "0"]).arg(module);
    command.env("WASMTRACE_SPOOL_DIR", folder.path()).env("NO_PROXY", "*").stdin(Stdio::null());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", url).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
    for (name, file) in settings {
        command.env(format!("OTEL_EXPORTER_OTLP_{name}"), file);
    }
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_sink_whose_authority_is_trusted_gets_all_and_another_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (protocol, collector) in authority.collectors(false) {
        let sent = run(protocol, &collector.url, &[("CERTIFICATE", authority.file("ca.pem"))]);
        assert!(!collector.spans().is_empty(), "{protocol}: {}", stderr(&sent));
        let before = collector.received().heads.len();
        // An authority of ours that is not its, and the system's.
        for settings in [&[("CERTIFICATE", other.file("ca.pem"))][..], &[]] {
            let refused = run(protocol, &collector.url, settings);
            assert_eq!(refused.status.code(), Some(125), "{protocol}: {}", stderr(&refused));
            assert!(stderr(&refused).contains("the trace was not sent"), "{}", stderr(&refused));
        }
        assert_eq!(collector.received().heads.len(), before);
    }
}

#[test]
fn a_sink_that_asks_who_we_are_is_told() {
    let authority = Authority::new();
    for (protocol, collector) in authority.collectors(true) {
        let trusted = ("CERTIFICATE", authority.file("ca.pem"));
        let anonymous = run(protocol, &collector.url, std::slice::from_ref(&trusted));
        assert_eq!((anonymous.status.code(), collector.spans().len()), (Some(125), 0), "{}", stderr(&anonymous));
        let key = ("CLIENT_KEY", authority.file("client.key"));
        let certificate = ("CLIENT_CERTIFICATE", authority.file("client.pem"));
        let known = run(protocol, &collector.url, &[trusted, key, certificate]);
        assert!(!collector.spans().is_empty(), "{protocol}: {}", stderr(&known));
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let authority = Authority::new();
    for protocol in ["http/protobuf", "grpc"] {
        for (settings, said) in [
            (vec![("CERTIFICATE", PathBuf::from("/no/such.pem"))], "/no/such.pem"),
            (vec![("CERTIFICATE", authority.file("localhost.key"))], "contains no certificate"),
            (
                vec![("CERTIFICATE", authority.file("ca.pem")), ("CLIENT_KEY", authority.file("client.key"))],
                "its key must be given together",
            ),
        ] {
            let failed = run(protocol, "https://localhost:1", &settings);
            assert!(stderr(&failed).contains(said), "{}", stderr(&failed));
        }
    }
}
