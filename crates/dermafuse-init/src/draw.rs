//! Draws the first weights of a whole module.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::address::Address;

/// Draws every parameter of the module that has no value yet, from `seed` and the parameter's path.
///
/// The path consists of the fields' names and list positions, without the variants of enums. Parameters that have a value keep
/// it, constants are what they are, and parameters that Burn's own `init` made are drawn from the device's generator.
pub fn draw_first_weights<M: Module>(module: &M, seed: u64) {
    module.visit(&mut Drawer { seed, names: Vec::new() });
}

struct Drawer {
    seed: u64,
    names: Vec<String>,
}

impl ModuleVisitor for Drawer {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.names.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // Fields begin with a small letter, variants with a capital one.
        let fields = self.names.iter().filter(|name| !name.starts_with(char::is_uppercase));
        let path = fields.map(String::as_str).collect::<Vec<_>>().join(".");
        Address { seed: self.seed, path }.during(|| param.val());
    }
}
