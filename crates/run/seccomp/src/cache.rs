//! Programs that were made before: a start compiles nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::{Arch, CapabilitySet, KernelVersion, Profile, Program, Result};
use crate::{compile, default_profile, resolve};

/// Programs kept; the one not used for longest gives way. Each takes 4 to
/// 32 KiB.
const MAX_PROGRAMS: usize = 64;

/// Where a container's profile comes from.
#[derive(Clone, Copy, Debug)]
pub enum ProfileSource<'a> {
    /// Docker's default, [`default_profile`].
    Default,
    /// Text of `--security-opt seccomp=…`.
    Json(&'a [u8]),
}

/// Programs by profile and capabilities, for one machine.
#[derive(Debug)]
pub struct Cache {
    kernel: KernelVersion,
    arch: Arch,
    programs: Mutex<Programs>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// SHA-256 of the text; `None` is the default.
    profile: Option<[u8; 32]>,
    bounding: CapabilitySet,
}

#[derive(Debug, Default)]
struct Programs {
    /// `None`: the profile says "no filter".
    by_key: HashMap<Key, Entry>,
    /// Counts uses; stands for the time of one.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    program: Option<Arc<Program>>,
    last_use: u64,
}

impl Cache {
    /// An empty one.
    pub fn new(kernel: KernelVersion, arch: Arch) -> Self {
        Self {
            kernel,
            arch,
            programs: Mutex::default(),
        }
    }

    /// The program for a container with this *bounding* set; `None` where the
    /// profile says "no filter".
    ///
    /// To have one ready before the first start, ask for it once.
    ///
    /// # Errors
    /// As [`Profile::parse`] and [`compile()`]; a failure is not remembered.
    pub fn program(
        &self,
        source: ProfileSource<'_>,
        bounding: CapabilitySet,
    ) -> Result<Option<Arc<Program>>> {
        let key = Key {
            profile: match source {
                ProfileSource::Default => None,
                ProfileSource::Json(text) => Some(Sha256::digest(text).into()),
            },
            bounding,
        };
        if let Some(program) = self.with(|programs| programs.get(&key)) {
            return Ok(program);
        }
        let program = self.make(source, bounding)?.map(Arc::new);
        self.with(|programs| programs.put(key, program.clone()));
        Ok(program)
    }

    fn make(&self, source: ProfileSource<'_>, bounding: CapabilitySet) -> Result<Option<Program>> {
        let parsed;
        let profile = match source {
            ProfileSource::Default => default_profile(),
            ProfileSource::Json(text) => match Profile::parse(text)? {
                Some(profile) => {
                    parsed = profile;
                    &parsed
                }
                None => return Ok(None),
            },
        };
        compile(
            &resolve(profile, &bounding, self.kernel, self.arch),
            self.arch,
        )
        .map(Some)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Programs) -> T) -> T {
        // Nothing is left half done by a panic: a poisoned map is still true.
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut programs)
    }
}

impl Programs {
    fn get(&mut self, key: &Key) -> Option<Option<Arc<Program>>> {
        self.uses += 1;
        let entry = self.by_key.get_mut(key)?;
        entry.last_use = self.uses;
        Some(entry.program.clone())
    }

    fn put(&mut self, key: Key, program: Option<Arc<Program>>) {
        if self.by_key.len() >= MAX_PROGRAMS && !self.by_key.contains_key(&key) {
            let oldest = self
                .by_key
                .iter()
                .min_by_key(|(_, entry)| entry.last_use)
                .map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.by_key.remove(&oldest);
            }
        }
        self.by_key.insert(
            key,
            Entry {
                program,
                last_use: self.uses,
            },
        );
    }
}
