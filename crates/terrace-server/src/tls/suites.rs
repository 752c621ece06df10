//! Which versions and cipher suites of TLS are offered.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, ProtocolVersion, SupportedProtocolVersion};

use crate::parameters::Configuration;

/// What the library has, by OpenSSL's names.
const NAMES: [(&str, CipherSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Brings `tls-protocols` into one form.
pub(crate) fn protocols(text: &str) -> Result<String, String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
    let known = ["TLSv1.2", "TLSv1.3"];
    if !words.iter().all(|word| known.iter().any(|name| name.eq_ignore_ascii_case(word))) {
        return Err("argument must be TLSv1.2, TLSv1.3 or both; older versions are not spoken".into());
    }
    let given = |name: &&str| words.iter().any(|word| name.eq_ignore_ascii_case(word));
    Ok(known.into_iter().filter(given).collect::<Vec<_>>().join(" "))
}

/// Brings `tls-ciphers` or `tls-ciphersuites` into one form; the order is the order of preference.
pub(crate) fn ciphers(text: &str) -> Result<String, String> {
    let name = |word: &str| {
        let found = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let known = || NAMES.map(|(name, _)| name).join(", ");
        found.map(|(name, _)| *name).ok_or_else(|| format!("no cipher suite '{word}'; there are {}", known()))
    };
    let words = text.split(':').map(str::trim).filter(|word| !word.is_empty());
    Ok(words.map(name).collect::<Result<Vec<_>, _>>()?.join(":"))
}

/// What is offered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Offer {
    protocols: String,
    /// Names of suites, those of TLS 1.3 first.
    suites: [String; 2],
}

impl Offer {
    /// What the configuration says.
    pub(super) fn of(configuration: &Configuration) -> Self {
        let text = |name: &str| configuration.get(name).to_string();
        Self { protocols: text("tls-protocols"), suites: [text("tls-ciphersuites"), text("tls-ciphers")] }
    }

    /// The library's suites, less those that are not offered, in the order of preference.
    pub(super) fn provider(&self) -> Result<Arc<CryptoProvider>, String> {
        let all = ring::default_provider();
        let mut suites = Vec::new();
        for (names, of_13) in self.suites.iter().zip([true, false]) {
            let is_of = |suite: CipherSuite| {
                let found = all.cipher_suites.iter().find(|own| own.suite() == suite);
                found.filter(|own| (own.version().version == ProtocolVersion::TLSv1_3) == of_13).copied()
            };
            if names.is_empty() {
                suites.extend(NAMES.iter().filter_map(|(_, suite)| is_of(*suite)));
                continue;
            }
            for name in names.split(':') {
                let suite =
                    NAMES.iter().find(|(known, _)| *known == name).and_then(|(_, suite)| is_of(*suite));
                let version = if of_13 { "1.3" } else { "1.2" };
                suites.push(suite.ok_or_else(|| format!("{name} is no cipher suite of TLS {version}"))?);
            }
        }
        Ok(Arc::new(CryptoProvider { cipher_suites: suites, ..all }))
    }

    /// The versions.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let is_spoken = |name: &str| self.protocols.is_empty() || self.protocols.contains(name);
        let versions = [("TLSv1.3", &rustls::version::TLS13), ("TLSv1.2", &rustls::version::TLS12)];
        versions.into_iter().filter(|(name, _)| is_spoken(name)).map(|(_, version)| version).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_into_one_form_or_refused() {
        assert_eq!(protocols("tlsv1.3 TLSv1.2").as_deref(), Ok("TLSv1.2 TLSv1.3"));
        assert!(protocols("TLSv1.1").is_err());
        let two = "ecdhe-rsa-aes256-gcm-sha384: ECDHE-RSA-CHACHA20-POLY1305";
        assert_eq!(ciphers(two).as_deref(), Ok("ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"));
        assert!(ciphers("RC4-MD5").unwrap_err().contains("there are TLS_AES_256_GCM_SHA384"));
    }

    #[test]
    fn only_what_is_offered_is_left_in_its_order() {
        let mut offer = Offer { protocols: String::new(), suites: Default::default() };
        assert_eq!((offer.provider().unwrap().cipher_suites.len(), offer.versions().len()), (9, 2));
        offer.protocols = "TLSv1.2".into();
        offer.suites[1] = "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-GCM-SHA384".into();
        let left: Vec<CipherSuite> = offer
            .provider()
            .unwrap()
            .cipher_suites
            .iter()
            .map(rustls::SupportedCipherSuite::suite)
            .skip(3)
            .collect();
        assert_eq!(
            left,
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
            ]
        );
        assert_eq!(offer.versions(), [&rustls::version::TLS12]);
        offer.suites[0] = "ECDHE-RSA-AES256-GCM-SHA384".into();
        assert!(offer.provider().unwrap_err().contains("TLS 1.3"));
    }
}
