//! Visitors and mappers of parameters whose rank is only known at run time.

use std::any::Any;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor};

/// The most dimensions that a parameter of a module may have which another crate brings.
pub const MAX_RANK: usize = 8;

/// A [`ModuleVisitor`] without generic methods. A parameter is a [`Param`] of a tensor, of up to [`MAX_RANK`] dimensions.
pub trait ErasedVisitor {
    /// As [`ModuleVisitor::enter_module`].
    fn enter(&mut self, name: &str, container: &str);
    /// As [`ModuleVisitor::exit_module`].
    fn exit(&mut self, name: &str, container: &str);
    /// As [`ModuleVisitor::visit_float`].
    fn float(&mut self, param: &dyn Any);
    /// As [`ModuleVisitor::visit_int`].
    fn int(&mut self, param: &dyn Any);
    /// As [`ModuleVisitor::visit_bool`].
    fn bool(&mut self, param: &dyn Any);
    /// As [`ModuleVisitor::visit_flag`].
    fn flag(&mut self, flag: &Param<Flag>);
}

/// A [`ModuleMapper`] without generic methods. What comes back is of the type of what was given.
pub trait ErasedMapper {
    /// As [`ModuleMapper::enter_module`].
    fn enter(&mut self, name: &str, container: &str);
    /// As [`ModuleMapper::exit_module`].
    fn exit(&mut self, name: &str, container: &str);
    /// As [`ModuleMapper::map_float`].
    fn float(&mut self, param: Box<dyn Any>) -> Box<dyn Any>;
    /// As [`ModuleMapper::map_int`].
    fn int(&mut self, param: Box<dyn Any>) -> Box<dyn Any>;
    /// As [`ModuleMapper::map_bool`].
    fn bool(&mut self, param: Box<dyn Any>) -> Box<dyn Any>;
    /// As [`ModuleMapper::map_flag`].
    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag>;
}

/// The most dimensions that a parameter of a module has.
#[must_use]
pub fn largest_rank<M: Module>(module: &M) -> usize {
    struct Largest(usize);
    impl ModuleVisitor for Largest {
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            self.0 = self.0.max(D);
        }
        fn visit_int<const D: usize>(&mut self, _: &Param<Tensor<D, Int>>) {
            self.0 = self.0.max(D);
        }
        fn visit_bool<const D: usize>(&mut self, _: &Param<Tensor<D, Bool>>) {
            self.0 = self.0.max(D);
        }
    }
    let mut largest = Largest(0);
    module.visit(&mut largest);
    largest.0
}

/// Where a module has a parameter of whole numbers or of truth values, if it has one: only those of floats are saved.
#[must_use]
pub fn unsaved_parameter<M: Module>(module: &M) -> Option<String> {
    #[derive(Default)]
    struct Unsaved {
        path: Vec<String>,
        found: Option<String>,
    }
    impl Unsaved {
        fn find(&mut self) {
            let path = &self.path;
            self.found.get_or_insert_with(|| path.join("."));
        }
    }
    impl ModuleVisitor for Unsaved {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_int<const D: usize>(&mut self, _: &Param<Tensor<D, Int>>) {
            self.find();
        }
        fn visit_bool<const D: usize>(&mut self, _: &Param<Tensor<D, Bool>>) {
            self.find();
        }
    }
    let mut unsaved = Unsaved::default();
    module.visit(&mut unsaved);
    unsaved.found
}

/// Calls a generic method with the parameter as what it is.
macro_rules! by_rank {
    (visit $visitor:ident.$method:ident($param:ident) $(: $kind:ty)?) => {
        by_rank!(@visit $visitor $method $param [$($kind)?] 0 1 2 3 4 5 6 7 8)
    };
    (@visit $visitor:ident $method:ident $param:ident $kind:tt $($rank:literal)+) => {
        $(if let Some(found) = $param.downcast_ref::<Param<by_rank!(@type $rank $kind)>>() {
            return $visitor.$method(found);
        })+
    };
    (map $mapper:ident.$method:ident($param:ident) $(: $kind:ty)?) => {
        by_rank!(@map $mapper $method $param [$($kind)?] 0 1 2 3 4 5 6 7 8)
    };
    (@map $mapper:ident $method:ident $param:ident $kind:tt $($rank:literal)+) => {
        $(let $param = match $param.downcast::<Param<by_rank!(@type $rank $kind)>>() {
            Ok(found) => return Box::new($mapper.$method(*found)),
            Err(other) => other,
        };)+
    };
    (@type $rank:literal []) => { Tensor<$rank> };
    (@type $rank:literal [$kind:ty]) => { Tensor<$rank, $kind> };
}

/// What is said of a parameter that nobody let in.
const TOO_MANY: &str = "modules whose parameters have more than 8 dimensions are refused when they are made";

impl<V: ModuleVisitor> ErasedVisitor for V {
    fn enter(&mut self, name: &str, container: &str) {
        self.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.exit_module(name, container);
    }

    fn float(&mut self, param: &dyn Any) {
        by_rank!(visit self.visit_float(param));
        unreachable!("{TOO_MANY}");
    }

    fn int(&mut self, param: &dyn Any) {
        by_rank!(visit self.visit_int(param): Int);
        unreachable!("{TOO_MANY}");
    }

    fn bool(&mut self, param: &dyn Any) {
        by_rank!(visit self.visit_bool(param): Bool);
        unreachable!("{TOO_MANY}");
    }

    fn flag(&mut self, flag: &Param<Flag>) {
        self.visit_flag(flag);
    }
}

impl<M: ModuleMapper> ErasedMapper for M {
    fn enter(&mut self, name: &str, container: &str) {
        self.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.exit_module(name, container);
    }

    fn float(&mut self, param: Box<dyn Any>) -> Box<dyn Any> {
        by_rank!(map self.map_float(param));
        drop(param);
        unreachable!("{TOO_MANY}");
    }

    fn int(&mut self, param: Box<dyn Any>) -> Box<dyn Any> {
        by_rank!(map self.map_int(param): Int);
        drop(param);
        unreachable!("{TOO_MANY}");
    }

    fn bool(&mut self, param: Box<dyn Any>) -> Box<dyn Any> {
        by_rank!(map self.map_bool(param): Bool);
        drop(param);
        unreachable!("{TOO_MANY}");
    }

    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.map_flag(flag)
    }
}

/// Shows an erased visitor what a module shows.
pub(crate) struct ToErasedVisitor<'a>(pub(crate) &'a mut dyn ErasedVisitor);

impl ModuleVisitor for ToErasedVisitor<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.float(param);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.0.int(param);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.0.bool(param);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.0.flag(flag);
    }
}

/// Lets an erased mapper change what a module has.
pub(crate) struct ToErasedMapper<'a>(pub(crate) &'a mut dyn ErasedMapper);

/// The parameter that a mapper gave back.
fn of_type<T: 'static>(param: Box<dyn Any>) -> T {
    *param.downcast().expect("a mapper gives back the type that it was given")
}

impl ModuleMapper for ToErasedMapper<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        of_type(self.0.float(Box::new(param)))
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        of_type(self.0.int(Box::new(param)))
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
        of_type(self.0.bool(Box::new(param)))
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.0.flag(flag)
    }
}
