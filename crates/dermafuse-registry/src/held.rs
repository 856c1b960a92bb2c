/// A value that is changed where it lies by what takes it and gives another back.
#[derive(Clone, Debug)]
pub struct Held<T>(Option<T>);

/// Why there is always one: a change that panics takes the holder with it.
const LOST: &str = "the value was lost in a change that panicked";

impl<T> Held<T> {
    /// Holds a value.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value.
    pub fn get(&self) -> &T {
        self.0.as_ref().expect(LOST)
    }

    /// Puts what `change` makes of the value in its place.
    pub fn change(&mut self, change: impl FnOnce(T) -> T) {
        self.0 = self.0.take().map(change);
    }

    /// The same with a change that can fail. Then the value is lost, so the holder must not be used again.
    ///
    /// # Errors
    /// As `change`.
    pub fn try_change<E>(&mut self, change: impl FnOnce(T) -> Result<T, E>) -> Result<(), E> {
        self.0 = self.0.take().map(change).transpose()?;
        Ok(())
    }
}
