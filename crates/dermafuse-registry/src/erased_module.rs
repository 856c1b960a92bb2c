use std::fmt::Debug;

use burn::module::{DisplaySettings, Module, ModuleDisplay};
use burn::tensor::Device;

use crate::erased_visitor::{ToErasedMapper, ToErasedVisitor};
use crate::{ErasedMapper, ErasedVisitor, Held};

/// What Burn's [`Module`] asks of a module, of one whose type is not known. What a module gives back changed, this one is.
pub trait ErasedModule: Debug + Send + Sync {
    /// As [`Module::collect_devices`].
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device>;
    /// As [`Module::fork`].
    fn fork(&mut self, device: &Device);
    /// As [`Module::to_device`].
    fn to_device(&mut self, device: &Device);
    /// As [`Module::train`].
    fn train(&mut self);
    /// As [`Module::valid`].
    fn valid(&mut self);
    /// As [`Module::materialize`].
    fn materialize(&mut self);
    /// As [`Module::num_params`].
    fn num_params(&self) -> usize;
    /// As [`Module::visit`].
    fn visit(&self, visitor: &mut dyn ErasedVisitor);
    /// As [`Module::map`].
    fn map(&mut self, mapper: &mut dyn ErasedMapper);
    /// As [`ModuleDisplay::format`].
    fn format(&self, settings: DisplaySettings) -> String;
}

/// A trait object that can be copied.
pub trait CloneBoxed {
    /// A copy.
    fn clone_boxed(&self) -> Box<Self>;
}

impl<M: Module + ModuleDisplay + Sync> ErasedModule for Held<M> {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.get().collect_devices(devices)
    }

    fn fork(&mut self, device: &Device) {
        self.change(|module| module.fork(device));
    }

    fn to_device(&mut self, device: &Device) {
        self.change(|module| module.to_device(device));
    }

    fn train(&mut self) {
        self.change(Module::train);
    }

    fn valid(&mut self) {
        self.change(|module| module.valid());
    }

    fn materialize(&mut self) {
        self.change(Module::materialize);
    }

    fn num_params(&self) -> usize {
        Module::num_params(self.get())
    }

    fn visit(&self, visitor: &mut dyn ErasedVisitor) {
        self.get().visit(&mut ToErasedVisitor(visitor));
    }

    fn map(&mut self, mapper: &mut dyn ErasedMapper) {
        self.change(|module| module.map(&mut ToErasedMapper(mapper)));
    }

    fn format(&self, settings: DisplaySettings) -> String {
        self.get().format(settings)
    }
}
