use dermafuse_train::Observer;

/// Is told how a recipe gets on, besides how its trainings do.
pub trait Progress: Observer {
    /// A step begins.
    fn step(&mut self, title: &str);

    /// Something that is worth a line, such as how many cases are left out.
    fn noted(&mut self, text: &str) {
        let _ = text;
    }

    /// So many images are looked at before a training.
    fn looked_at(&mut self, done: usize, total: usize) {
        let _ = (done, total);
    }

    /// So many cases of a step are predicted.
    fn predicted(&mut self, done: usize, total: usize);
}

/// Progress that nobody looks at.
impl Progress for dermafuse_train::Silent {
    fn step(&mut self, _title: &str) {}

    fn predicted(&mut self, _done: usize, _total: usize) {}
}
