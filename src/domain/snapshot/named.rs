//! Items that are found by id or by extension. There may be millions, so only an id is stored twice.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    ops::Bound,
    sync::Arc,
};

use foldhash::fast::FixedState;
use imbl::{GenericHashMap, OrdSet, shared_ptr::DefaultSharedPtr};

use crate::domain::ids::Extension;

/// Items by id, and by extension if they have one. Hash tables find them, in the same time among many as among few. A
/// set lists them in order.
#[derive(Debug, Clone)]
pub(super) struct Named<V: HasNames> {
    /// An id is stored beside its item, so that both are fetched from memory at the same time.
    by_id: Found<V::Id, Arc<V>>,
    by_extension: Found<ByExtension<V>, ()>,
    pub(super) order: OrdSet<V::Id>,
}

type Found<K, V> = GenericHashMap<K, V, FixedState, DefaultSharedPtr>;

/// An item as its own key, because its extension is in it. INVARIANT: it has an extension.
#[derive(Debug, Clone)]
struct ByExtension<V>(Arc<V>);

/// An item with an id, and possibly an extension.
pub(super) trait HasNames: Clone {
    type Id: Ord + Hash + Clone + Borrow<str>;

    fn id(&self) -> &Self::Id;
    fn extension(&self) -> &Option<Extension>;
}

impl<V: HasNames> Borrow<Option<Extension>> for ByExtension<V> {
    fn borrow(&self) -> &Option<Extension> {
        self.0.extension()
    }
}

impl<V: HasNames> Hash for ByExtension<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.extension().hash(state);
    }
}

impl<V: HasNames> PartialEq for ByExtension<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.extension() == other.0.extension()
    }
}

impl<V: HasNames> Eq for ByExtension<V> {}

impl<V: HasNames> Named<V> {
    pub(super) fn new() -> Self {
        Self { by_id: Found::default(), by_extension: Found::default(), order: OrdSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&V> {
        self.by_id.get(id).map(Arc::as_ref)
    }

    pub(super) fn with_extension(&self, extension: &Extension) -> Option<&V> {
        self.by_extension.get_key_value(&Some(*extension)).map(|(ByExtension(found), ())| found.as_ref())
    }

    /// Add an item whose id isn't in use.
    pub(super) fn insert(&mut self, value: V) -> Result<(), &'static str> {
        let id = value.id().clone();
        self.replace(value)?;
        self.order.insert(id);
        Ok(())
    }

    /// Replace the item with the same id.
    pub(super) fn replace(&mut self, value: V) -> Result<(), &'static str> {
        let extension = *value.extension();
        let before = self.get(value.id().borrow()).and_then(|before| *before.extension());
        if before != extension {
            if extension.is_some() && self.by_extension.contains_key(&extension) {
                return Err("the extension is in use");
            }
            if before.is_some() {
                self.by_extension.remove(&before);
            }
        }
        self.put(value);
        Ok(())
    }

    /// Replace the item with the same id and extension.
    pub(super) fn put(&mut self, value: V) {
        let value = Arc::new(value);
        // The map replaces the equal key too, so it keeps the later item.
        if value.extension().is_some() {
            self.by_extension.insert(ByExtension(Arc::clone(&value)), ());
        }
        self.by_id.insert(value.id().clone(), value);
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.order.remove(id);
        if let Some(before) = self.by_id.remove(id)
            && before.extension().is_some()
        {
            self.by_extension.remove(before.extension());
        }
    }

    /// Return whether all items are the same, and are found by the same names.
    pub(super) fn is_same(&self, other: &Self, is_same: impl Fn(&V, &V) -> bool) -> bool {
        let are_same =
            |own: Option<&V>, others: Option<&V>| own.zip(others).is_some_and(|(one, other)| is_same(one, other));
        let is_found_too = |ByExtension(own): &ByExtension<V>| {
            are_same(Some(own), own.extension().and_then(|extension| other.with_extension(&extension)))
        };
        self.order == other.order
            && self.order.iter().all(|id| are_same(self.get(id.borrow()), other.get(id.borrow())))
            && self.by_extension.len() == other.by_extension.len()
            && self.by_extension.keys().all(is_found_too)
    }

    /// Iterate in order of the ids, from the one after `after`.
    pub(super) fn after<'s>(&'s self, after: Option<&'s str>) -> impl Iterator<Item = &'s V> {
        after_in(&self.order, after).filter_map(|id| self.get(id.borrow()))
    }
}

/// Iterate over the ids after one, in order.
pub(super) fn after_in<'s, K: Ord + Borrow<str>>(
    ids: &'s OrdSet<K>,
    after: Option<&'s str>,
) -> impl Iterator<Item = &'s K> {
    ids.range::<_, str>((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}

/// Merge two ordered lists, without duplicates.
pub(super) fn in_either<'s, K: Ord + 's>(
    one: impl Iterator<Item = &'s K>,
    other: impl Iterator<Item = &'s K>,
) -> impl Iterator<Item = &'s K> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || {
        let next = [one.peek(), other.peek()].into_iter().flatten().min().copied()?;
        one.next_if_eq(&next);
        other.next_if_eq(&next);
        Some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{fixture::user, ids::UserId, snapshot::UserState};

    fn member(user_id: &str, extension: Option<&str>) -> UserState {
        UserState::new(user(user_id, extension))
    }

    fn of(members: impl IntoIterator<Item = UserState>) -> Named<UserState> {
        let mut named = Named::new();
        members.into_iter().for_each(|member| named.insert(member).unwrap());
        named
    }

    #[test]
    fn a_replacement_is_found_only_by_its_own_names() {
        let extension = |text: &str| text.parse::<Extension>().unwrap();
        let found =
            |named: &Named<UserState>, text| named.with_extension(&extension(text)).map(|found| found.id().clone());
        let mut named = of([member("ann", Some("101")), member("bob", Some("102"))]);
        assert_eq!(named.replace(member("ann", Some("102"))), Err("the extension is in use"));
        named.replace(member("ann", Some("103"))).unwrap();
        assert_eq!(found(&named, "101"), None);
        assert_eq!(found(&named, "103").as_ref().map(UserId::as_str), Some("ann"));
        let mut renamed = user("ann", Some("103"));
        renamed.display_name = "Ann".into();
        named.replace(UserState::new(renamed)).unwrap();
        let by_extension = named.with_extension(&extension("103")).unwrap();
        assert_eq!([&*named.get("ann").unwrap().user().display_name, &*by_extension.user().display_name], ["Ann"; 2]);
        named.replace(member("ann", None)).unwrap();
        assert_eq!((found(&named, "103"), named.len()), (None, 2));
        named.remove("bob");
        assert_eq!((found(&named, "102"), named.contains("bob"), named.len()), (None, false, 1));
    }

    /// Loaded states are compared with replayed ones, so the comparison must find every difference.
    #[test]
    fn a_comparison_finds_every_difference() {
        let both = || of([member("ann", Some("101")), member("bob", None)]);
        let mut renamed = user("bob", None);
        renamed.display_name = "Bob".into();
        let mut unfound = both();
        unfound.by_extension.clear();
        let are_same = |one: &Named<UserState>, other: &Named<UserState>| {
            one.is_same(other, |one, another| one.user() == another.user())
        };
        assert!(are_same(&both(), &of([member("bob", None), member("ann", Some("101"))])));
        for other in [
            of([member("ann", Some("101"))]),
            of([member("ann", Some("102")), member("bob", None)]),
            of([member("ann", Some("101")), UserState::new(renamed)]),
            unfound,
        ] {
            assert!(!are_same(&both(), &other));
        }
    }
}
