//! The driver from outside: what programs that link to it can do, and what is said of programs that are wrong.

mod order;
mod device;
mod memory;
mod session;
mod streams;
