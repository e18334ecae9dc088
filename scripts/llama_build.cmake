# How llama.cpp is compiled for a wheel of llama-cpp-python: the libraries that the wheel has, nothing else, and each header
# read as seldom as can be. Code and optimization stay what they are. `scripts/venv.py` has CMake include this file in the
# project llama.cpp, right after its `project()`; docs/decisions/build-llama.md says what each line brings.

set(LLAMA_BUILD_COMMON OFF) # code of llama.cpp's programs, half of the compile: the wheel has none of them
set(LLAMA_ALL_WARNINGS OFF)

function(three_mode_tune)
  # See scripts/llama_amx_tiles.h. Only ggml-cpu is compiled for this processor, and has code for AMX.
  target_compile_options(ggml-cpu PRIVATE -include "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/llama_amx_tiles.h")

  set(source "${CMAKE_SOURCE_DIR}/vendor/llama.cpp")
  set_target_properties(llama PROPERTIES UNITY_BUILD_BATCH_SIZE 40)
  target_precompile_headers(llama PRIVATE "${source}/src/models/models.h" <algorithm> <regex> <unordered_map>)

  if(TARGET mtmd)
    set_target_properties(mtmd PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 30)
    foreach(name clip mtmd mtmd-audio mtmd-helper mtmd-helper-gen mtmd-image)
      set_source_files_properties(
        "${source}/tools/mtmd/${name}.cpp" TARGET_DIRECTORY mtmd PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endforeach()
    # Decoders of files that others wrote, 95,000 lines: most of them for audio, which is not offered.
    set_source_files_properties(
      "${source}/tools/mtmd/mtmd-helper.cpp" TARGET_DIRECTORY mtmd PROPERTIES COMPILE_OPTIONS "-O1")
  endif()
endfunction()
cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL three_mode_tune)
