#pragma once
// LibTorch ships ProcessGroupGloo.hpp without the gloo headers that it includes. These five declare as
// much as the class's own declaration needs; nothing of gloo is called or made through them.
namespace gloo {}
