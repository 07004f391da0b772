#pragma once
// See gloo/algorithm.h.
#include <memory>

namespace gloo::transport {

class Device;
class UnboundBuffer;

}  // namespace gloo::transport
