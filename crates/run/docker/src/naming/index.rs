//! Finding a container by id, by name, or by the first digits of its id.
//!
//! Pure: a map each way. Ids lie in order, so a prefix is two steps.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

/// Ids and names that belong together, with a value for each.
#[derive(Debug)]
pub struct Index<T> {
    by_id: BTreeMap<String, Entry<T>>,
    by_name: HashMap<String, String>,
}

#[derive(Debug)]
struct Entry<T> {
    name: String,
    value: T,
}

/// Why a reference names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindError {
    /// Neither a name nor the beginning of an id.
    NotFound,
    /// The beginning of more than one id.
    Ambiguous,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_name: HashMap::new(),
        }
    }
}

impl<T> Index<T> {
    /// Adds `id` under `name`: the id that has the name already, if one has.
    pub fn insert(&mut self, id: &str, name: &str, value: T) -> Result<(), String> {
        if let Some(holder) = self.by_name.get(name) {
            return Err(holder.clone());
        }
        self.by_name.insert(name.to_owned(), id.to_owned());
        let name = name.to_owned();
        self.by_id.insert(id.to_owned(), Entry { name, value });
        Ok(())
    }

    /// Takes `id` and its name out.
    pub fn remove(&mut self, id: &str) -> Option<T> {
        let entry = self.by_id.remove(id)?;
        self.by_name.remove(&entry.name);
        Some(entry.value)
    }

    /// Gives `id` another name: the id that has it already, if one has.
    pub fn rename(&mut self, id: &str, name: &str) -> Result<(), String> {
        if let Some(holder) = self.by_name.get(name) {
            return Err(holder.clone());
        }
        if let Some(entry) = self.by_id.get_mut(id) {
            self.by_name.remove(&entry.name);
            name.clone_into(&mut entry.name);
            self.by_name.insert(name.to_owned(), id.to_owned());
        }
        Ok(())
    }

    /// The id that `reference` means: a whole id, a name with or without a
    /// slash before it, or the beginning of one id, in this order.
    pub fn find(&self, reference: &str) -> Result<&str, FindError> {
        if let Some((id, _)) = self.by_id.get_key_value(reference) {
            return Ok(id);
        }
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(id) = self.by_name.get(name) {
            return Ok(id);
        }
        if reference.is_empty() {
            return Err(FindError::NotFound);
        }
        let from = Bound::Included(reference);
        let mut following = self
            .by_id
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(id, _)| id.as_str())
            .take_while(|id| id.starts_with(reference));
        match (following.next(), following.next()) {
            (None, _) => Err(FindError::NotFound),
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(FindError::Ambiguous),
        }
    }

    /// The value of a whole id.
    pub fn get(&self, id: &str) -> Option<&T> {
        self.by_id.get(id).map(|entry| &entry.value)
    }

    /// The value of a whole id, to be changed.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.by_id.get_mut(id).map(|entry| &mut entry.value)
    }

    /// The name of a whole id, without a slash.
    pub fn name(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(|entry| entry.name.as_str())
    }

    /// Whether somebody has the name.
    pub fn has_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// All values, in the order of ids.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.by_id.values().map(|entry| &entry.value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index<u8> {
        let mut index = Index::default();
        index.insert("aa11", "one", 1).expect("free");
        index.insert("aa22", "two", 2).expect("free");
        index.insert("bb33", "aa1", 3).expect("free");
        index
    }

    #[test]
    fn finds_by_id_then_name_then_prefix() {
        let index = index();
        assert_eq!(index.find("aa11"), Ok("aa11"));
        assert_eq!(index.find("one"), Ok("aa11"));
        assert_eq!(index.find("/one"), Ok("aa11"));
        assert_eq!(index.find("aa1"), Ok("bb33"), "a name goes before a prefix");
        assert_eq!(index.find("aa2"), Ok("aa22"));
        assert_eq!(index.find("b"), Ok("bb33"));
        assert_eq!(index.find("aa"), Err(FindError::Ambiguous));
        for nothing in ["", "c", "aa111", "on", "//one"] {
            assert_eq!(index.find(nothing), Err(FindError::NotFound), "{nothing}");
        }
    }

    #[test]
    fn names_are_unique_and_follow_their_container() {
        let mut index = index();
        assert_eq!(index.insert("cc44", "one", 4), Err("aa11".into()));
        assert_eq!(index.rename("aa11", "two"), Err("aa22".into()));
        index.rename("aa11", "three").expect("free");
        assert_eq!(index.find("one"), Err(FindError::NotFound));
        assert_eq!(index.find("three"), Ok("aa11"));
        assert_eq!(index.remove("aa11"), Some(1));
        assert!(!index.has_name("three"));
        assert_eq!(index.len(), 2);
    }
}
