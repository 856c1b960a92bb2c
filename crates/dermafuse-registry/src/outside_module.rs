use burn::module::{
    Content, DisplaySettings, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;

use crate::{CloneBoxed, ErasedModule};

/// A module of another crate. `I` is the trait object that it is known by: [`ErasedModule`] and what its kind of modules does.
#[derive(Debug)]
pub struct OutsideModule<I: ?Sized>(Box<I>);

impl<I: ?Sized> OutsideModule<I> {
    /// The module behind its trait object.
    #[must_use]
    pub fn new(module: Box<I>) -> Self {
        Self(module)
    }

    /// The trait object.
    #[must_use]
    pub fn inner(&self) -> &I {
        &self.0
    }

    /// The trait object, to be changed.
    pub fn inner_mut(&mut self) -> &mut I {
        &mut self.0
    }

    /// What `change` makes of it.
    fn changed(mut self, change: impl FnOnce(&mut I)) -> Self {
        change(&mut self.0);
        self
    }
}

impl<I: ?Sized + CloneBoxed> Clone for OutsideModule<I> {
    fn clone(&self) -> Self {
        Self(self.0.clone_boxed())
    }
}

impl<I: ?Sized + ErasedModule + CloneBoxed> Module for OutsideModule<I> {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.changed(|module| module.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.changed(|module| module.to_device(device))
    }

    fn train(self) -> Self {
        self.changed(I::train)
    }

    fn valid(&self) -> Self {
        self.clone().changed(I::valid)
    }

    fn materialize(self) -> Self {
        self.changed(I::materialize)
    }

    fn num_params(&self) -> usize {
        self.0.num_params()
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.visit(visitor);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.changed(|module| module.map(mapper))
    }
}

impl<I: ?Sized + ErasedModule + CloneBoxed> ModuleDisplayDefault for OutsideModule<I> {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&self.0.format(DisplaySettings::default())).optional()
    }

    fn num_params(&self) -> usize {
        self.0.num_params()
    }
}

impl<I: ?Sized + ErasedModule + CloneBoxed> ModuleDisplay for OutsideModule<I> {
    fn format(&self, settings: DisplaySettings) -> String {
        self.0.format(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Held;
    use burn::module::{Param, ParamId};
    use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
    use burn::tensor::{Int, Tensor};

    /// A module with everything that a visitor can meet.
    #[derive(Module, Debug)]
    struct Block {
        linear: Linear,
        norm: BatchNorm,
        dropout: Dropout,
        places: Param<Tensor<1, Int>>,
        kernel: Param<Tensor<8>>,
    }

    trait ErasedBlock: ErasedModule {
        fn clone_block(&self) -> Box<dyn ErasedBlock>;
        fn forward(&self, input: Tensor<2>) -> Tensor<2>;
    }

    impl ErasedBlock for Held<Block> {
        fn clone_block(&self) -> Box<dyn ErasedBlock> {
            Box::new(self.clone())
        }

        fn forward(&self, input: Tensor<2>) -> Tensor<2> {
            let block = self.get();
            block.dropout.forward(block.norm.forward(block.linear.forward(input)))
        }
    }

    impl CloneBoxed for dyn ErasedBlock {
        fn clone_boxed(&self) -> Box<Self> {
            self.clone_block()
        }
    }

    fn block(device: &Device) -> Block {
        Block {
            linear: LinearConfig::new(3, 4).init(device),
            norm: BatchNormConfig::new(4).init(device),
            dropout: DropoutConfig::new(0.5).init(),
            places: Param::initialized(ParamId::new(), Tensor::from_ints([4, 7], device)),
            kernel: Param::from_tensor(Tensor::ones([1, 1, 1, 1, 1, 1, 1, 2], device)),
        }
    }

    fn outside(block: &Block) -> OutsideModule<dyn ErasedBlock> {
        OutsideModule::new(Box::new(Held::new(block.clone())))
    }

    #[derive(Default, PartialEq, Debug)]
    struct Seen(Vec<String>);

    impl ModuleVisitor for Seen {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.push(format!("{name} of {container}"));
        }
        fn exit_module(&mut self, name: &str, _container: &str) {
            self.0.push(format!("end of {name}"));
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(format!("{} {:?} {}", param.id, param.val().dims(), param.val().is_require_grad()));
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            self.0.push(format!("{} {:?} whole", param.id, param.val().dims()));
        }
        fn visit_flag(&mut self, flag: &Param<burn::module::Flag>) {
            self.0.push(format!("{} flag {}", flag.id, flag.is_enabled()));
        }
    }

    fn seen<M: Module>(module: &M) -> Seen {
        let mut seen = Seen::default();
        module.visit(&mut seen);
        seen
    }

    #[test]
    fn a_module_shows_the_same_behind_a_trait_object() {
        let device = Device::flex().autodiff();
        let block = block(&device);
        let outside = outside(&block);
        assert_eq!(seen(&outside), seen(&block));
        assert!(seen(&block).0.iter().any(|line| line.ends_with("whole")), "{:?}", seen(&block));
        assert!(seen(&block).0.iter().any(|line| line.contains("flag")), "{:?}", seen(&block));
        assert_eq!(seen(&outside.valid()), seen(&block.valid()));
        assert_eq!(seen(&outside.clone().freeze()), seen(&block.clone().freeze()));
        assert_ne!(seen(&outside.clone().freeze()), seen(&outside));
        assert_eq!(seen(&outside.valid().train()), seen(&block.valid().train()));
        assert_eq!(Module::num_params(&outside), Module::num_params(&block));
        assert_eq!(outside.devices(), block.devices());
        assert_eq!(outside.format(DisplaySettings::default()), block.format(DisplaySettings::default()));
    }

    #[test]
    fn a_module_is_mapped_saved_and_loaded_behind_a_trait_object() {
        struct Double;
        impl ModuleMapper for Double {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|tensor| tensor * 2.0)
            }
            fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
                param.map(|tensor| tensor + 1)
            }
        }
        let device = Device::flex();
        let (one, other) = (block(&device), block(&device));
        let input = || Tensor::<2>::from_data([[1.0, -2.0, 0.5], [0.25, 3.0, 1.0]], &device);
        let output = |outside: &OutsideModule<dyn ErasedBlock>| outside.inner().forward(input()).into_data();
        let twin = block(&device).try_load_record(one.clone().into_record()).unwrap();
        let doubled = outside(&one).map(&mut Double);
        // Clones share running statistics, so the one beside it is loaded.
        assert_eq!(output(&doubled), output(&outside(&twin.map(&mut Double))));
        assert_ne!(output(&doubled), output(&outside(&one)));

        let loaded = outside(&other).try_load_record(doubled.clone().into_record()).unwrap();
        assert_eq!(output(&loaded), output(&doubled));
        assert_ne!(output(&outside(&other)), output(&doubled));
    }

    #[test]
    fn ranks_are_told() {
        assert_eq!(crate::largest_rank(&block(&Device::flex())), crate::MAX_RANK);
    }

    #[test]
    fn parameters_that_are_not_saved_are_found() {
        let block = block(&Device::flex());
        assert_eq!(crate::unsaved_parameter(&block), Some("places".to_owned()));
        // Running statistics are floats, and whether dropout trains is no tensor.
        assert_eq!(crate::unsaved_parameter(&block.norm), None);
        assert_eq!(crate::unsaved_parameter(&block.dropout), None);
    }
}
