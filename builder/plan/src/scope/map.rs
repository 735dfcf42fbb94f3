//! A sorted map of names whose copies share what they have in common.
//!
//! A copy costs nothing and a change some twenty entries, however many names there are: stages begin with one another,
//! and each is a copy of the one before with a little changed. It is a tree of Adelson-Velsky and Landis, whose depth no
//! choice of names can spoil. Must never: give an order that depends on the order of insertion.

use std::cmp::Ordering;
use std::rc::Rc;

type Tree<V> = Option<Rc<Node<V>>>;

#[derive(Debug)]
struct Node<V> {
    key: Rc<str>,
    value: V,
    height: u8,
    left: Tree<V>,
    right: Tree<V>,
}

/// The map.
#[derive(Debug, Clone)]
pub(super) struct SharedMap<V> {
    root: Tree<V>,
    len: usize,
}

impl<V> Default for SharedMap<V> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<V: Clone> SharedMap<V> {
    /// The value of a name.
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        let mut tree = self.root.as_deref();
        while let Some(node) = tree {
            tree = match key.cmp(&node.key) {
                Ordering::Equal => return Some(&node.value),
                Ordering::Less => node.left.as_deref(),
                Ordering::Greater => node.right.as_deref(),
            };
        }
        None
    }

    /// Gives a name a value; gives the one that it had.
    pub(super) fn insert(&mut self, key: &str, value: V) -> Option<V> {
        let mut old = None;
        self.root = Some(put(self.root.as_ref(), key, value, &mut old));
        self.len += usize::from(old.is_none());
        old
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Names and values, sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        let mut open = Vec::new();
        let mut tree = self.root.as_deref();
        std::iter::from_fn(move || {
            while let Some(node) = tree {
                open.push(node);
                tree = node.left.as_deref();
            }
            let node = open.pop()?;
            tree = node.right.as_deref();
            Some((&*node.key, &node.value))
        })
    }
}

fn put<V: Clone>(tree: Option<&Rc<Node<V>>>, key: &str, value: V, old: &mut Option<V>) -> Rc<Node<V>> {
    let Some(node) = tree else { return join(key.into(), value, None, None) };
    match key.cmp(&node.key) {
        Ordering::Equal => {
            *old = Some(node.value.clone());
            join(node.key.clone(), value, node.left.clone(), node.right.clone())
        }
        Ordering::Less => {
            let left = put(node.left.as_ref(), key, value, old);
            balanced(node, Some(left), node.right.clone())
        }
        Ordering::Greater => {
            let right = put(node.right.as_ref(), key, value, old);
            balanced(node, node.left.clone(), Some(right))
        }
    }
}

fn height<V>(tree: &Tree<V>) -> u8 {
    tree.as_ref().map_or(0, |node| node.height)
}

fn join<V>(key: Rc<str>, value: V, left: Tree<V>, right: Tree<V>) -> Rc<Node<V>> {
    let height = 1 + height(&left).max(height(&right));
    Rc::new(Node { key, value, height, left, right })
}

/// The node upon other children.
fn upon<V: Clone>(node: &Node<V>, left: Tree<V>, right: Tree<V>) -> Rc<Node<V>> {
    join(node.key.clone(), node.value.clone(), left, right)
}

/// The same, turned around where one child is two higher than the other.
fn balanced<V: Clone>(node: &Node<V>, left: Tree<V>, right: Tree<V>) -> Rc<Node<V>> {
    match (&left, &right) {
        (Some(top), _) if top.height > height(&right) + 1 => match &top.right {
            Some(mid) if mid.height > height(&top.left) => {
                let (low, high) = (upon(top, top.left.clone(), mid.left.clone()), upon(node, mid.right.clone(), right));
                upon(mid, Some(low), Some(high))
            }
            _ => upon(top, top.left.clone(), Some(upon(node, top.right.clone(), right))),
        },
        (_, Some(top)) if top.height > height(&left) + 1 => match &top.left {
            Some(mid) if mid.height > height(&top.right) => {
                let (low, high) = (upon(node, left, mid.left.clone()), upon(top, mid.right.clone(), top.right.clone()));
                upon(mid, Some(low), Some(high))
            }
            _ => upon(top, Some(upon(node, left, top.left.clone())), top.right.clone()),
        },
        _ => upon(node, left, right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Every node that a map is made of.
    fn nodes<V>(tree: &Tree<V>, into: &mut BTreeSet<*const Node<V>>) {
        if let Some(node) = tree {
            into.insert(Rc::as_ptr(node));
            nodes(&node.left, into);
            nodes(&node.right, into);
        }
    }

    #[test]
    fn it_agrees_with_an_ordinary_map_in_any_order_of_insertion() {
        let orders: [fn(usize) -> usize; 4] = [|n| n, |n| 999 - n, |n| n * 7919 % 1000, |n| n % 300];
        for order in orders {
            let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
            for n in 0..1000 {
                let key = format!("V{}", order(n));
                assert_eq!(map.insert(&key, n), model.insert(key, n));
            }
            assert!(map.iter().map(|(k, v)| (k.to_owned(), *v)).eq(model.clone()));
            assert_eq!(map.len(), model.len());
            assert!(model.iter().all(|(k, v)| map.get(k) == Some(v)));
            assert_eq!(map.get("V1000"), None);
            assert!(height(&map.root) <= 14, "1.44 log2(1000) is 14.4");
        }
    }

    #[test]
    fn a_copy_keeps_its_values_and_shares_all_but_a_path() {
        let mut first = SharedMap::default();
        for n in 0..10_000 {
            first.insert(&format!("V{n}"), n);
        }
        let mut second = first.clone();
        second.insert("V77", 0);
        assert_eq!((first.get("V77"), second.get("V77")), (Some(&77), Some(&0)));
        let (mut both, mut one) = (BTreeSet::new(), BTreeSet::new());
        nodes(&first.root, &mut one);
        nodes(&first.root, &mut both);
        nodes(&second.root, &mut both);
        assert!(both.len() - one.len() <= 20, "{} entries were copied", both.len() - one.len());
    }
}
