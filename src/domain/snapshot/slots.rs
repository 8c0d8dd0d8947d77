//! Numbers of queues. A number and the roles on the queue take half the space of an id, and a copy needs no reference
//! count. There may be tens of millions of assignments.

use imbl::Vector;

use crate::domain::{
    ids::QueueId,
    model::{Role, RoleSet},
};

/// The number of a queue of one organization, as long as the queue exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u32);

/// The queues of an organization by slot. Freed slots are used again.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    taken: Vector<Option<QueueId>>,
    free: Vector<Slot>,
}

impl Slot {
    /// The largest slot. It leaves two bits of four bytes for roles.
    const LARGEST: u32 = u32::MAX >> 2;

    fn numbered(number: usize) -> Result<Self, &'static str> {
        let number = u32::try_from(number).ok().filter(|number| *number <= Self::LARGEST);
        number.map(Self).ok_or("there are too many queues")
    }

    fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The roles that a user holds on one queue, in four bytes: the queue's slot, and the roles in the lowest bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueRoles(u32);

impl QueueRoles {
    const ROLES: [(Role, u32); 2] = [(Role::Supervisor, 1), (Role::Agent, 2)];

    pub(super) fn new(slot: Slot, roles: RoleSet) -> Self {
        let held = Self::ROLES.iter().filter(|(role, _)| roles.contains(*role));
        Self(held.fold(slot.0 << 2, |packed, (_, bit)| packed | bit))
    }

    pub(super) fn slot(self) -> Slot {
        Slot(self.0 >> 2)
    }

    pub(super) fn roles(self) -> RoleSet {
        let held = Self::ROLES.iter().filter(|(_, bit)| self.0 & bit != 0);
        held.fold(RoleSet::default(), |roles, (role, _)| roles.with(*role))
    }
}

impl Slots {
    /// Return the slot of the next new queue.
    pub(super) fn next(&self) -> Result<Slot, &'static str> {
        self.free.last().map_or_else(|| Slot::numbered(self.taken.len()), |slot| Ok(*slot))
    }

    /// Give the next slot to a queue.
    pub(super) fn take(&mut self, queue_id: QueueId) {
        match self.free.pop_back() {
            Some(slot) => _ = self.taken.set(slot.index(), Some(queue_id)),
            None => self.taken.push_back(Some(queue_id)),
        }
    }

    /// Free the slot of a queue without references.
    pub(super) fn give_back(&mut self, slot: Slot) {
        self.taken.set(slot.index(), None);
        self.free.push_back(slot);
    }

    pub(super) fn queue_id(&self, slot: Slot) -> Option<&QueueId> {
        self.taken.get(slot.index())?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_its_slot_and_freed_slots_are_used_again() {
        let mut slots = Slots::default();
        let take = |slots: &mut Slots, id: &str| {
            let slot = slots.next().unwrap();
            slots.take(id.parse().unwrap());
            slot
        };
        let [first, second, third] = ["a", "b", "c"].map(|id| take(&mut slots, id));
        let before = slots.clone();
        slots.give_back(first);
        slots.give_back(second);
        assert_eq!(
            [first, second, third].map(|slot| slots.queue_id(slot).map(QueueId::as_str)),
            [None, None, Some("c")]
        );
        assert_eq!([take(&mut slots, "d"), take(&mut slots, "e")], [second, first]);
        assert_eq!(take(&mut slots, "f"), Slot(3));
        assert_eq!(slots.queue_id(first).map(QueueId::as_str), Some("e"));
        assert_eq!(before.queue_id(first).map(QueueId::as_str), Some("a"), "the earlier copy is unchanged");
    }

    #[test]
    fn the_largest_slot_has_room_for_roles() {
        let largest = Slot::numbered((1 << 30) - 1).unwrap();
        for number in [1 << 30, usize::MAX] {
            assert_eq!(Slot::numbered(number), Err("there are too many queues"));
        }
        for roles in [&[][..], &[Role::Agent], &[Role::Supervisor], &[Role::Supervisor, Role::Agent]] {
            let on = QueueRoles::new(largest, roles.iter().fold(RoleSet::default(), |set, role| set.with(*role)));
            assert_eq!((on.slot(), on.roles().iter().collect::<Vec<_>>()), (largest, roles.to_vec()));
        }
    }
}
