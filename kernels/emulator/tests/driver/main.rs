//! The driver from outside: what programs that link to it can do, and what is said of programs that are wrong.

mod device;
mod memory;
mod order;
mod session;
mod streams;
