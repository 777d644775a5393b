// SPDX-License-Identifier: Apache-2.0
#include "engine/cudnn/device_api.h"
#include "engine/cudnn/kernels.h"

namespace lstmd::cudnn {

const DeviceApi& RealApi() {
  static const DeviceApi api = [] {
    DeviceApi bound;
#define LSTMD_BIND(name) bound.name = &::name;
    LSTMD_DEVICE_CALLS(LSTMD_BIND)
#undef LSTMD_BIND
    bound.launch_gather = &Launch<GatherArgs>;
    bound.launch_cell = &Launch<CellArgs>;
    bound.launch_store_hidden = &Launch<StoreHiddenArgs>;
    bound.launch_move_state = &Launch<MoveStateArgs>;
    bound.launch_merge = &Launch<MergeArgs>;
    bound.launch_head = &Launch<HeadArgs>;
    bound.launch_convert = &Launch<ConvertArgs>;
    return bound;
  }();
  return api;
}

}  // namespace lstmd::cudnn
