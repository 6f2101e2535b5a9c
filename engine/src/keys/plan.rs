//! What a configuration says of keys, as what checks tokens.

use fanfare_identity::keys::{EndpointId, JwkSet, KeySources};

use super::address::KeyAddress;
use super::authorities::Authorities;
use super::fetch::fetch;
use crate::clock;
use crate::tenancy::{KeyMaterial, KeySpec, Tenancy};

/// An endpoint as the configuration has it.
#[derive(Clone, Debug)]
pub struct KeyEndpoint {
    /// What [`KeySources::add_endpoint`] gave for it.
    pub id: EndpointId,
    /// Where it is.
    pub address: KeyAddress,
    /// Who vouches for it.
    pub authorities: Authorities,
}

/// All that a configuration says of keys.
#[derive(Debug, Default)]
pub struct KeyPlan {
    /// Keys, and places for those that endpoints have.
    pub sources: KeySources,
    /// The endpoints of these sources, in their order.
    pub endpoints: Vec<KeyEndpoint>,
}

impl KeyPlan {
    /// The keys of all tenants.
    ///
    /// # Errors
    /// Which key cannot be one, where it stands, and why.
    pub fn of(tenancy: &Tenancy) -> Result<Self, String> {
        let mut plan = Self::default();
        for spec in &tenancy.keys {
            plan.add(spec, tenancy.tokens.require_exp)
                .map_err(|what| format!("{}: {what}", spec.place))?;
        }
        Ok(plan)
    }

    fn add(&mut self, spec: &KeySpec, require_exp: bool) -> Result<(), String> {
        let endpoint = spec.add_to(&mut self.sources, require_exp)?;
        if let (Some(id), KeyMaterial::Jwks(url)) = (endpoint, &spec.material) {
            let authorities = match &spec.authorities {
                Some(text) => Authorities::pem(text)?,
                None => Authorities::public(),
            };
            self.endpoints.push(KeyEndpoint { id, address: KeyAddress::parse(url)?, authorities });
        }
        Ok(())
    }

    /// Asks every endpoint once and waits for it: for a command that then ends. Gives a sentence
    /// for each that failed.
    ///
    /// # Errors
    /// The machine's: no descriptors.
    pub fn fetch_all(&mut self) -> std::io::Result<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut failures = Vec::new();
        for KeyEndpoint { id, address, authorities } in &self.endpoints {
            let published = runtime.block_on(fetch(address, authorities));
            let only = self.sources.only_algorithm(*id);
            match published.and_then(|published| JwkSet::read(&published.json, only)) {
                Ok(set) => self.sources.answered(*id, set, clock::unix_seconds()),
                Err(what) => {
                    self.sources.failed(*id, clock::unix_seconds());
                    failures.push(format!("{address}: {what}"));
                }
            }
        }
        Ok(failures)
    }
}
